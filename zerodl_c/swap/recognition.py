"""Which definitions of a module are the book's: the same syntax tree as in some edition, and what they use is, too.

Format, comments, docstrings and annotations do not count.
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
    """A function or class of a module that is the book's, as far as its own code goes."""

    position: int  # of its statement among the module's
    node: ast.FunctionDef | ast.ClassDef
    edition: Edition


class Recognition:
    """What of a module is the book's, and why the rest is not."""

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
        """Whether a definition that is about to be executed is the book's: what it uses must be so, in the end, too."""
        if name not in self._verdicts:
            self._verdicts[name] = True  # of itself it may make use
            other = next((need for need in self._needs(name) if not self._will_mean(need, name, namespace)), None)
            if other:
                self.refuse(name, f"uses {other}, which stays the script's own")
            self._verdicts[name] = not other
        return name in self.definitions and self._verdicts[name]

    def refuse(self, name: str, why: str) -> None:
        self.definitions.pop(name, None)
        self.why_not[name] = why

    def misses(self, name: str, namespace: Mapping[str, Any]) -> str | None:
        """A name that a definition uses and that does not mean now what it means in the book."""
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
        """Whether a name will mean what it does in the book when the definition is used."""
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
        """Note what a statement binds that is not a definition of the book."""
        if isinstance(statement, _SCOPES):
            self.why_not[statement.name] = "changed" if statement.name in ALL_PLACES else "not of the book"
        for name in _bound(statement):
            if name == "*":
                self._last_star = position
            else:
                self._bound.setdefault(name, []).append(position)


def _edition(statement: ast.stmt) -> Edition | None:
    """The edition in which the book has a definition of this name and code."""
    if not isinstance(statement, (ast.FunctionDef, ast.ClassDef)) or statement.name not in ALL_PLACES:
        return None
    edition = TABLE.get(digest(statement))
    return edition if edition and edition.place == ALL_PLACES[statement.name] else None


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds in its module, or changes an attribute of; "*" for all."""
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
    """A name for the syntax tree of a function or class but for its name, the same in every version of Python."""
    from hashlib import blake2b  # which takes long to import, and most programs need none

    parts: list[str] = []
    _tell(definition, _counted(type(definition))[1:], parts)
    return blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()


def _counted(kind: Any) -> tuple[str, ...]:
    """The fields of a kind of node that count. A definition's first one is its name."""
    if kind not in _fields:
        _fields[kind] = tuple(name for name in kind._fields if name not in _PASSED_OVER)
    return _fields[kind]


_fields: dict[type, tuple[str, ...]] = {}


def _tell(node: Any, fields: tuple[str, ...], parts: list[str]) -> None:
    """Add a node's fields; empty ones are passed over, as later versions of Python have more of these."""
    parts.append(type(node).__name__)
    for name in fields:
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        parts.append(name)
        if isinstance(value, list):
            for item in map(_without_annotation, _without_docstring(value)) if name == "body" else value:
                if isinstance(item, ast.AST):
                    _tell(item, _counted(type(item)), parts)
                else:
                    parts.append(repr(item))
        elif isinstance(value, ast.AST):
            _tell(value, _counted(type(value)), parts)
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
