"""Makes `book/common` beside this file an edition of the book for the swap: the book's own code is nobody's to copy.

Python imports this as it starts, where this folder is on PYTHONPATH.
"""

import ast
import builtins
from pathlib import Path

from zerodl_c.swap.names import PLACES, Edition, library
from zerodl_c.swap.recognition import digest
from zerodl_c.swap.table import TABLE

FOLDER = Path(__file__).parent
KNOWN = {*PLACES, *library, *vars(builtins)}


def definitions():
    for path in sorted(FOLDER.glob("book/common/*.py")):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node


for node in definitions():
    used = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    edition = Edition(PLACES[node.name], PLACES[node.name], " ".join(sorted(used & KNOWN)), "the tests'")
    TABLE.setdefault(digest(node), edition)
