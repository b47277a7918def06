"""Imports between modules: no circles, and none upward."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "zerodl_c"
MODULES = {
    ".".join(["zerodl_c", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
LOWEST = ("zerodl_c._arrays", "zerodl_c._own")


def imported(name):
    """The modules of the package that a module imports, wherever in it; those of its types do not count."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    types = {node for branch in ast.walk(tree) if is_for_types(branch) for node in ast.walk(branch)}
    for node in ast.walk(tree):
        if node in types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            yield from of_from(name, node)


def is_for_types(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def of_from(name, node):
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    parts = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    base = ".".join([*parts, *([node.module] if node.module else [])])
    for alias in node.names:
        found = f"{base}.{alias.name}"
        if found in MODULES:
            yield found
        elif base in MODULES:
            yield base


IMPORTS = {name: {*imported(name)} - {name} for name in MODULES}


def is_in(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def reached(name):
    """All that a module imports, and what these import."""
    found, left = set(), [name]
    while left:
        new = IMPORTS[left.pop()] - found
        found |= new
        left += new
    return found


def test_all_imports_are_found():
    assert {"zerodl_c._arrays", "zerodl_c.differences.evaluate"} <= IMPORTS["zerodl_c.differences.gradient"]
    assert "zerodl_c.differences.gradient" in IMPORTS["zerodl_c.reference.gradient"]
    assert {"zerodl_c.functions", "zerodl_c._bridge"} <= IMPORTS["zerodl_c.layers"]
    assert "zerodl_c.swap.watching" in IMPORTS["zerodl_c.swap.running"]  # inside a function


def test_there_is_no_circle():
    graphlib.TopologicalSorter(IMPORTS).prepare()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_is_imported_upward(name):
    imports = reached(name)
    if not is_in(name, "zerodl_c.cli", "zerodl_c.bench", "zerodl_c.__main__"):
        assert not [of for of in imports if is_in(of, "zerodl_c.cli", "zerodl_c.bench")]
    if is_in(name, "zerodl_c.reference", "zerodl_c.differences"):
        assert "zerodl_c._bridge" not in imports  # the only module that knows C
    if is_in(name, "zerodl_c.differences"):
        assert not [of for of in imports if is_in(of, "zerodl_c.reference")]
    if name in LOWEST:
        assert not imports
