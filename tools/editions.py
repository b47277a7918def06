"""Makes zerodl_c/swap/table.py: the digests of all definitions of the book's `common`, in every edition.

    python tools/editions.py NAME=CHECKOUT [NAME=CHECKOUT ...] > zerodl_c/swap/table.py

CHECKOUT is a clone, with its history, of an edition's repository on GitHub, and NAME that edition's: Japanese of
oreilly-japan/deep-learning-from-scratch, Korean of WegraLee/deep-learning-from-scratch, English of
bpbpublications/Neural-Network-for-Beginners. (Copies of Chinese readers are the same.) Nothing of their code
is kept.
"""

import ast
import subprocess
import symtable
import sys
from collections.abc import Iterator
from typing import Any

from zerodl_c.swap.names import BOOK, PLACES
from zerodl_c.swap.recognition import digest

# Definitions whose meaning is not the engine's: the name, what only they contain, and the maker in
# zerodl_c.swap.editions of what stands in for them; without one they are left alone.
OTHERWISE = [
    ("softmax", "x.T", "softmax_until_2020"),
    ("Pooling", "stride=1", "pooling_until_2020"),
    ("MultiLayerNetExtend", "X, T", "extended_net_until_2020"),
    ("step_function", "np.int)", ""),  # which NumPy has no more
    ("relu_grad", "np.zeros(x)", ""),  # an error, as x is no shape
    ("cross_entropy_error", "t])) /", ""),  # log(y), and not log(y + 1e-7)
    ("BatchNormalization", "transpose", ""),  # images by channel
    ("MultiLayerNet", "T = np.argmax", ""),  # an error where t is one-hot
    ("Nesterov", "self.v[key] -= self.lr * grads[key]\n            params", ""),  # the velocity from after its update
    ("Trainer", "'rmsprpo'", ""),
]
HEAD = '''"""The definitions of the book's `common` in all editions, by the digests of their syntax trees.

Made by tools/editions.py; do not edit.
"""

# ruff: noqa: E501

from .names import Edition

TABLE = {'''


def main() -> None:
    definitions: dict[str, Any] = {}
    seen: dict[str, dict[str, list[str]]] = {}
    for argument in sys.argv[1:]:
        edition, _, checkout = argument.partition("=")
        for date, definition in history(checkout):
            key = digest(definition)
            definitions[key] = definition
            seen.setdefault(key, {}).setdefault(edition, []).append(date)
    print(HEAD)
    for key, definition in sorted(definitions.items(), key=lambda item: (place(item[1]), seen[item[0]]["Japanese"])):
        editions = ", ".join(f"{edition} {min(dates)} to {max(dates)}" for edition, dates in seen[key].items())
        row = place(definition), served(definition), " ".join(needs(definition)), editions
        print(f'    "{key}": Edition(')
        for value in row:
            print(f'        "{value}",')
        print("    ),")
    print("}")


def history(checkout: str) -> Iterator[tuple[str, Any]]:
    """The definitions of the book in every commit, with its month; those of the last one have no end yet."""
    log = git(checkout, "log", "--reverse", "--format=%H %ad", "--date=format:%Y-%m", "HEAD", "--", "common")
    commits = [line.split() for line in log.decode().splitlines()]
    for (commit, _), (_, until) in zip(commits, [*commits[1:], ("", "now")], strict=True):
        since = dict(commits)[commit]
        for module in BOOK:
            for definition in ast.parse(git(checkout, "show", f"{commit}:common/{module}.py", missing=b"")).body:
                if isinstance(definition, (ast.FunctionDef, ast.ClassDef)):
                    yield since, definition
                    yield until, definition


def git(checkout: str, *arguments: str, missing: bytes | None = None) -> bytes:
    done = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, check=missing is None)
    return done.stdout if not done.returncode else missing or b""


def place(definition: Any) -> str:
    return PLACES["sum_squared_error" if definition.name == "mean_squared_error" else definition.name]


def served(definition: Any) -> str:
    text = ast.unparse(definition)
    makers = [maker for name, part, maker in OTHERWISE if name == definition.name and part in text]
    return makers[0] if makers else place(definition)


def needs(definition: Any) -> list[str]:
    """The global names that it uses."""
    names: set[str] = set()
    tables = symtable.symtable(ast.unparse(definition), "", "exec").get_children()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return sorted(names)


if __name__ == "__main__":
    main()
