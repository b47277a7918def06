"""Which definitions of a module are the book's.

A definition is the book's if it has the syntax tree of some edition, and if the names that it uses mean what they mean
in the book. Format, comments, docstrings and annotations do not count.
"""

import ast
import builtins
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .names import ALL_PLACES, PLACES, Edition, is_served, library
from .table import TABLE

_PASSED_OVER = {"annotation", "returns", "type_comment", "ctx", "kind", "simple"}
_SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef


class Definition(NamedTuple):
    """A function or class of a module whose own code is the book's."""

    position: int  # the index of its statement in the module
    node: ast.FunctionDef | ast.ClassDef
    edition: Edition


class Recognition:
    """The definitions of a module that are the book's, and why the others are not."""

    def __init__(self, tree: ast.Module, engine: str) -> None:
        self.engine = engine
        self.definitions: dict[str, Definition] = {}
        self.why_not: dict[str, str] = {}
        self._bound: dict[str, list[int]] = {}  # the positions of the statements that bind a name
        self._last_star = -1
        self._verdicts: dict[str, bool] = {}
        for position, statement in enumerate(tree.body):
            edition = _edition(statement)
            if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and edition:
                self._bound.setdefault(statement.name, []).append(position)
                self.definitions[statement.name] = Definition(position, statement, edition)
            else:
                self._read(position, statement)
        for name in list(self.definitions):
            self._refuse_unless_final(name)

    def stands(self, name: str, namespace: Mapping[str, Any]) -> bool:
        """Whether a definition that is about to be executed is the book's, with all names that it uses."""
        if name not in self._verdicts:
            self._verdicts[name] = True  # it may use itself
            other = next((need for need in self._needs(name) if not self._will_mean(need, name, namespace)), None)
            if other:
                self.refuse(name, f"uses {other}, which stays the script's own")
            self._verdicts[name] = not other
        return name in self.definitions and self._verdicts[name]

    def refuse(self, name: str, why: str) -> None:
        self.definitions.pop(name, None)
        self.why_not[name] = why

    def misses(self, name: str, namespace: Mapping[str, Any]) -> str | None:
        """The first name that a definition uses and that does not now mean what it means in the book, or None."""
        return next((need for need in self._needs(name) if not self._means(need, namespace)), None)

    def _needs(self, name: str) -> list[str]:
        return self.definitions[name].edition.needs.split() if name in self.definitions else []

    def _means(self, need: str, namespace: Mapping[str, Any]) -> bool:
        if need in PLACES:
            return need in namespace and is_served(self.engine, PLACES[need], namespace[need])
        if need in library:
            return namespace.get(need) is library[need]
        return namespace.get(need, getattr(builtins, need)) is getattr(builtins, need)

    def _will_mean(self, need: str, name: str, namespace: Mapping[str, Any]) -> bool:
        """Whether a name will have the book's meaning by the time the definition is used."""
        if need in self.definitions:
            return self.stands(need, namespace)
        last = max(self._bound.get(need, [-1]))
        return max(last, self._last_star) < self.definitions[name].position and self._means(need, namespace)

    def _refuse_unless_final(self, name: str) -> None:
        definition = self.definitions[name]
        if not definition.edition.served:
            self.refuse(name, f"as in older editions: {definition.edition.editions}")
        elif len(self._bound[name]) > 1 or self._last_star > definition.position:
            self.refuse(name, "bound or changed once more in the module")

    def _read(self, position: int, statement: ast.stmt) -> None:
        """Record the names that a statement binds, if it is not a definition of the book."""
        if isinstance(statement, _SCOPES):
            self.why_not[statement.name] = "changed" if statement.name in ALL_PLACES else "not of the book"
        for name in _bound(statement):
            if name == "*":
                self._last_star = position
            else:
                self._bound.setdefault(name, []).append(position)


def _edition(statement: ast.stmt) -> Edition | None:
    """The edition of the book that has a definition of this name and code, or None."""
    if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)) or statement.name not in ALL_PLACES:
        return None
    edition = TABLE.get(digest(statement))
    return edition if edition and edition.place == ALL_PLACES[statement.name] else None


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds in its module, or whose attributes it changes; "*" for `import *`."""
    nodes: list[ast.AST] = [statement]
    while nodes:
        node = nodes.pop()
        match node:
            case ast.Lambda():
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                yield from (name for part in ast.walk(node) if isinstance(part, ast.Global) for name in part.names)
                continue
            case ast.Name(ctx=ast.Store() | ast.Del()):
                yield node.id
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[ast.Name(id=name), *_]):
                yield name
            case ast.alias():
                yield (node.asname or node.name).partition(".")[0]
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case ast.MatchMapping(rest=str(name)):
                yield name
        nodes += ast.iter_child_nodes(node)


# ---- Digests -------------------------------------------------------------------------------------


def digest(definition: ast.FunctionDef | ast.ClassDef) -> str:
    """A hash of the syntax tree of a function or class without its name. It is the same in every version of Python."""
    from hashlib import blake2b  # slow to import, and most programs need no digest

    parts: list[str] = []
    _append(definition, _counted(type(definition))[1:], parts)
    return blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()


def _counted(kind: Any) -> tuple[str, ...]:
    """The fields of this kind of node that the digest covers. A definition's first field is its name."""
    if kind not in _fields:
        _fields[kind] = tuple(name for name in kind._fields if name not in _PASSED_OVER)
    return _fields[kind]


_fields: dict[type, tuple[str, ...]] = {}


def _append(node: Any, fields: tuple[str, ...], parts: list[str]) -> None:
    """Append a node's fields to parts. Empty ones are skipped, because later versions of Python add more of them."""
    parts.append(type(node).__name__)
    for name in fields:
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        parts.append(name)
        if isinstance(value, list):
            for item in map(_without_annotation, _without_docstring(value)) if name == "body" else value:
                if isinstance(item, ast.AST):
                    _append(item, _counted(type(item)), parts)
                else:
                    parts.append(repr(item))
        elif isinstance(value, ast.AST):
            _append(value, _counted(type(value)), parts)
        else:
            parts.append(repr(value))
    parts.append(".")


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body[0]:
        case ast.Expr(value=ast.Constant(value=str())):
            return body[1:]
    return body


def _without_annotation(statement: ast.stmt) -> ast.stmt:
    match statement:
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return ast.Assign([target], value)
    return statement
