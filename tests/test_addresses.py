"""C gets addresses, which keep no array alive. This test reads the sources and checks that local variables do."""

import ast
from pathlib import Path

import pytest

import zerodl_c

FUNCTIONS = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda


def calls_c(path):
    """Whether a module gets the C functions; in others an `id` is no address for C."""
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return any(alias.name in ("lib", "_zerodl") for node in imports for alias in node.names)


SOURCES = [path for path in sorted(Path(zerodl_c.__file__).parent.glob("*.py")) if calls_c(path)]


def faults(source: str) -> list[str]:
    """Each use of `id` whose array may die, or become another, before C has read it."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    return [
        f"line {node.lineno}: {ast.unparse(use)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "id"
        for use in [_use_of(node, parents)]
        if not _is_safe(node, use, parents, tree)
    ]


def _use_of(node, parents):
    """The call id(x), or map(id, xs), that a name `id` belongs to; else the name."""
    call = parents[node]
    return call if isinstance(call, ast.Call) else node


def _is_safe(node, use, parents, tree):
    if not isinstance(use, ast.Call) or use.keywords:
        return False
    if use.func is node:
        arrays = use.args
    elif isinstance(use.func, ast.Name) and use.func.id == "map" and len(use.args) == 2 and use.args[0] is node:
        arrays = use.args[1].elts if isinstance(use.args[1], ast.Tuple) else use.args[1:]
    else:
        return False
    return all(_is_held(array, use, parents, tree) for array in arrays) and _is_argument(use, parents)


def _is_held(array, use, parents, tree):
    """Whether an array is a local variable, or at module level an imported name, that nothing binds in this call."""
    if not isinstance(array, ast.Name):
        return False
    function = _function_around(use, parents)
    if function is None:
        imports = (node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)))
        return any(array.id == (alias.asname or alias.name) for node in imports for alias in node.names)
    a = function.args
    names = {arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if arg}
    for node in ast.walk(function):
        if _function_around(node, parents) is not function:
            continue
        if isinstance(node, (ast.Global, ast.Nonlocal)) and array.id in node.names:
            return False
        if isinstance(node, ast.Name) and node.id == array.id and isinstance(node.ctx, ast.Del):
            return False
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and not _in_comprehension(node, parents):
            names.add(node.id)
    bound_here = [n.target.id for n in ast.walk(_statement_of(use, parents)) if isinstance(n, ast.NamedExpr)]
    return array.id in names and array.id not in bound_here


def _is_argument(use, parents):
    """Whether the addresses go straight to a call, alone, unpacked or in a list, so that none is kept for later."""
    node, parent = use, parents[use]
    while isinstance(parent, (ast.Starred, ast.List)):
        node, parent = parent, parents[parent]
    return isinstance(parent, ast.Call) and node in parent.args and not _is_map(parent)


def _is_map(call):
    return isinstance(call.func, ast.Name) and call.func.id in ("map", "list", "tuple", "sorted", "partial")


def _function_around(node, parents):
    node = parents.get(node)
    while node is not None and not isinstance(node, FUNCTIONS):
        node = parents.get(node)
    return node


def _in_comprehension(node, parents):
    return isinstance(parents.get(node), ast.comprehension)


def _statement_of(node, parents):
    while not isinstance(node, ast.stmt):
        node = parents[node]
    return node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_addresses_come_from_local_names_alone(path):
    assert not faults(path.read_text(encoding="utf-8"))


def test_the_modules_that_call_c_are_read():
    assert {"_bridge", "_network", "functions", "layers", "optimizer", "util"} <= {path.stem for path in SOURCES}


@pytest.mark.parametrize(
    "line",
    [
        "c(id(self.x))",
        "c(id(xs[0]))",
        "c(id(f(x)))",
        "c(id(f()))",
        "c(id(x if x else f()))",
        "c(*map(id, (x, self.x)))",
        "c(*map(id, self.xs))",
        "c(*map(id, f(x)))",
        "c(*map(id, [x, f(x)]))",
        "c([*map(id, [f(x) for x in xs])])",
        "c([id(x) for x in xs])",
        "ids = [*map(id, xs)]",
        "ids = id(x), id(xs)",
        "ids = list(map(id, xs))",
        "return id(x)",
        "c(id(x), (x := 1))",
        "del x; c(id(x))",
        "global x; c(id(x))",
        "address = id; c(address(x))",
        "c(f(x), key=id)",
        "c(id(GLOBAL))",
    ],
)
def test_what_holds_nothing_is_found(line):
    body = "\n    ".join(line.split("; "))
    arguments = "self, xs" if "global" in line else "self, x, xs"
    assert faults(f"GLOBAL = 1\ndef function({arguments}):\n    {body}")


@pytest.mark.parametrize(
    "line",
    ["c(id(x))", "c(0, id(x), id(y))", "c(*map(id, xs))", "c(*map(id, (x, y)), 3)", "c([*map(id, xs)], id(x))"],
)
def test_local_names_are_fine(line):
    assert not faults(f"def function(x, xs):\n    y = x\n    if {line} == OK:\n        return y")
