"""Executes the modules of `common` so that the book's definitions in them are the engine's from the start.

A module's own source is executed, except that each definition of the book becomes an `if`: where the definition and all
that it uses are the book's, the engine's is bound in its place, and otherwise the definition is executed. So subclasses
and tables further down in the module hold the engine's classes. If the script later replaces a name that a definition
uses, the definition's own code takes over.
"""

import __future__

import ast
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .names import BOOK, ENGINES, is_made, namesake, served
from .recognition import Definition, Recognition

_HIDDEN = "__zerodl_c__"
_MISSING = object()
# Attributes that every class has, or gets when they are first read. They do not affect its behaviour.
_OF_EVERY_CLASS = {*vars(type("", (), {})), "__static_attributes__", "__firstlineno__"}
_OF_EVERY_CLASS |= {"__annotations__", "__annotations_cache__", "__annotate_func__"}


def modules_of_common() -> dict[str, ModuleType]:
    """The modules of `common` in sys.modules, without entries of None, which block an import."""
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "common" and module}


# ---- One module ----------------------------------------------------------------------------------


class Made:
    """A script's own module of `common`, whose definitions of the book are replaced by the engine's."""

    all: dict[str, "Made"] = {}  # noqa: RUF012  by the module's name

    def __init__(self, module: ModuleType, tree: ast.Module, path: str, engine: str) -> None:
        self.module, self.tree, self.path, self.engine = module, tree, path, engine
        self.recognition = Recognition(tree, engine)
        self.put: dict[str, Any] = {}  # the engine's replacement for each name
        self._own: dict[str, Any] = {}
        self._taken_over: dict[str, list[tuple[Any, str, Any]]] = {}
        self._needed: set[str] = set()
        Made.all[module.__name__] = self

    def execute(self) -> None:
        """Execute the module's source."""
        namespace = vars(self.module)
        body = list(self.tree.body)
        for name, (position, node, _) in self.recognition.definitions.items():
            question = ast.Call(ast.Name(_HIDDEN, ast.Load()), [ast.Constant(name)], [])
            statement = ast.If(question, [ast.Pass()], [node])
            for new in ast.walk(question), [statement, *statement.body]:
                for part in new:
                    ast.copy_location(part, node)
            body[position] = statement
        code = self._compiled(body)
        namespace[_HIDDEN] = self._stand_in
        try:
            exec(code, namespace)
        finally:
            namespace.pop(_HIDDEN, None)
        self.watch()

    def _stand_in(self, name: str) -> bool:
        """Bind the name to the engine's definition, and return True, if the module's definition is the book's."""
        if not self.recognition.stands(name, vars(self.module)):
            return False
        stand_in = served(self.engine, self.definition(name).edition)
        if not _is_as_it_was(stand_in):
            self.recognition.refuse(name, "the script has changed the class and imported its module again")
            return False
        self.put[name] = vars(self.module)[name] = stand_in
        return True

    def definition(self, name: str) -> Definition:
        return self.recognition.definitions[name]

    def own(self, name: str) -> Any:
        """The module's own function or class, which the engine's replaces. Its globals are the module's."""
        if name not in self._own:
            # Annotations are not evaluated: their names may exist only for type checkers.
            code = self._compiled([self.definition(name).node], __future__.annotations.compiler_flag)
            exec(code, vars(self.module), self._own)
        return self._own[name]

    def _compiled(self, body: list[ast.stmt], flags: int = 0) -> CodeType:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compile(ast.Module(body, []), self.path, "exec", flags, dont_inherit=True)

    # ---- Names that are replaced later

    def watch(self) -> None:
        """Check the definitions again whenever a name that they use is rebound."""
        self._needed = {need for name in self.put for need in self.definition(name).edition.needs.split()}
        if self.put and type(self.module) is ModuleType:
            self.module.__class__ = _Watched
        self.look_again()

    def bound(self, name: str) -> None:
        if name in self._needed:
            self.look_again()

    def look_again(self) -> None:
        """Let a definition's own code take over if a name that it uses was replaced; undo that if it was restored."""
        for name in self.put:
            misses = self.recognition.misses(name, vars(self.module))
            if misses and name not in self._taken_over:
                self._taken_over[name] = []
                self.recognition.why_not[name] = f"uses {misses}, which was replaced"
                self._take_over(name)
            elif not misses and name in self._taken_over:
                self._hand_back(name)

    def hand_back_all(self) -> None:
        for name in list(self._taken_over):
            self._hand_back(name)

    def _take_over(self, name: str) -> None:
        stand_in: Any = self.put[name]
        own = self.own(name)
        if not isinstance(stand_in, type):
            _replace_everywhere(stand_in, own)
            return
        methods = {key: value for key, value in vars(own).items() if key not in _OF_EVERY_CLASS}
        places: list[tuple[Any, str, Any]] = [  # the engine's subclasses keep the methods that they inherit now
            (heir, key, getattr(heir, key))
            for heir in _heirs(stand_in)
            for key in methods
            if key not in vars(heir) and hasattr(heir, key)
        ]
        places += [(stand_in, key, value) for key, value in (attributes_in_place(stand_in) | methods).items()]
        for owner, key, value in places:
            self._taken_over[name].append((owner, key, vars(owner).get(key, _MISSING)))
            setattr(owner, key, value)

    def _hand_back(self, name: str) -> None:
        replaced = self._taken_over.pop(name)
        self.recognition.why_not.pop(name, None)
        if not isinstance(self.put[name], type):
            _replace_everywhere(self.own(name), self.put[name])
        for owner, key, value in reversed(replaced):
            if value is _MISSING:
                delattr(owner, key)
            else:
                setattr(owner, key, value)


class _Watched(ModuleType):
    """A module that reports when a name is bound in it from outside."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self._report(name)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._report(name)

    def _report(self, name: str) -> None:
        made = Made.all.get(self.__name__)
        if made and made.module is self:
            made.bound(name)


def own_definition(stand_in: Any) -> Any:
    """The script's own definition that a function or class of the engine replaces; None if there is none."""
    for made in Made.all.values():
        for name, value in made.put.items():
            if value is stand_in:
                return made.own(name)
    return None


as_they_were: dict[type, dict[str, Any]] = {}  # the contents of each class when it first replaced a definition


def _is_as_it_was(stand_in: Any) -> bool:
    """Whether the script has not changed the engine's class since then.

    A changed class cannot replace the definition again: each import of the module must give a fresh class.
    """
    if not isinstance(stand_in, type):
        return True
    held = {name: value for kind in reversed(stand_in.__mro__[:-1]) for name, value in vars(kind).items()}
    held = {name: value for name, value in held.items() if name not in _OF_EVERY_CLASS}
    before = as_they_were.setdefault(stand_in, held)
    return held.keys() == before.keys() and all(held[name] is before[name] for name in held)


def _heirs(kind: type) -> list[type]:
    """The engine's own direct subclasses of a class."""
    heirs: list[type] = kind.__subclasses__()
    return [heir for heir in heirs if heir.__module__.startswith("zerodl_c.") or is_made(heir)]


@cache
def properties(kind: type) -> list[str]:
    """The names of the class's properties, which the engine computes when they are read."""
    return [name for name in dir(kind) if isinstance(getattr(kind, name), property)]


def attributes_in_place(kind: type) -> dict[str, None]:
    """Plain attributes that hide the class's properties, for code that sets these names itself."""
    return dict.fromkeys(properties(kind))


def _replace_everywhere(old: Any, new: Any) -> None:
    """Rebind every name for `old` in the modules of `common` and in the script to `new`."""
    for module in [*modules_of_common().values(), sys.modules.get("__main__")]:
        for key, value in list(vars(module).items()) if module else ():
            if value is old:
                setattr(module, key, new)


# ---- Finding and loading -------------------------------------------------------------------------


class Finder:
    """Finds the modules of `common`. (No base of importlib.abc: Python does not need it, and it is slow to import.)"""

    def __init__(self, engine: str, after: dict[str, Callable[[ModuleType], None]]) -> None:
        self.engine, self.after = engine, after  # what to do to other modules after they are imported
        self.unread: dict[str, str] = {}  # modules that are left as they are, and why

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self.after:
            spec = self._own(fullname, path)
            return spec and _with(spec, _After(spec.loader, self.after[fullname]))
        package, _, name = fullname.partition(".")
        if package != "common":
            return None
        spec = self._later(fullname, path)
        if spec and spec.loader and name in BOOK:
            return _with(spec, _Loader(spec.loader, self))
        if spec or (name and (name not in BOOK or self._own("common", None))):
            return spec
        origin = ENGINES[self.engine] + (name and f".{name}")
        return ModuleSpec(fullname, _Namesake(self.engine), origin=origin, is_package=not name)  # type: ignore[arg-type]

    def _later(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """The spec of a module without the swap. By now sys.path may lead to the script's own package."""
        if isinstance(path, list) and not path:
            own = self._own("common", None)
            path += own.submodule_search_locations or [] if own else []
        return self._own(fullname, path)

    def _own(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(fullname, path)
                if spec is not None:
                    return spec
        return None


def _with(spec: ModuleSpec, loader: Any) -> ModuleSpec:
    spec.loader = loader
    return spec


class _Loader:
    """A loader that wraps the module's own loader, and leaves no trace in the module."""

    def __init__(self, own: Any, finder: Finder) -> None:
        self.own, self.finder = own, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self.own.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__:
            module.__spec__.loader = self.own
        module.__loader__ = self.own
        self._execute(module)

    def _execute(self, module: ModuleType) -> None:
        forget(module.__name__)
        source = source_of(self.own, module.__name__)
        tree = _parsed(source)
        made = tree and Made(module, tree, self.own.get_filename(module.__name__), self.finder.engine)
        if made and made.recognition.definitions:
            made.execute()
            return
        if source is None:
            self.finder.unread[module.__name__] = "its source cannot be read"
        self.own.exec_module(module)


class _After(_Loader):
    """A loader that calls a function on the module after executing it."""

    def __init__(self, own: Any, do: Callable[[ModuleType], None]) -> None:
        self.own, self.do = own, do

    def _execute(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        self.do(module)


class _Namesake:
    """Makes a module with the contents of the book's, for a script that has none."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.partition(".")[2]
        vars(module).update(namesake(self.engine, name) if name else {})


def source_of(loader: Any, name: str) -> bytes | str | None:
    """A module's source, if its loader is Python's own for files or zip archives."""
    zipped = getattr(sys.modules.get("zipimport"), "zipimporter", None)
    try:
        if type(loader) is SourceFileLoader:
            return loader.get_data(loader.path)
        if zipped and type(loader) is zipped:
            source: str | None = loader.get_source(name)
            return source
    except OSError:  # the loader itself will raise it
        pass
    return None


def _parsed(source: bytes | str | None) -> ast.Module | None:
    """The syntax tree, or None. No warning is shown here: Python shows its own when it compiles the module."""
    with warnings.catch_warnings(), suppress(SyntaxError, ValueError):  # the loader itself will raise it
        warnings.simplefilter("ignore")
        return ast.parse(source) if source is not None else None
    return None


# ---- Modules that were imported before -----------------------------------------------------------


def forget(name: str) -> None:
    """Forget a module that is about to be executed again."""
    made = Made.all.pop(name, None)
    if made:
        made.hand_back_all()


def adopt(finder: Finder) -> list[tuple[ModuleType, str, Any]]:
    """Put the engine's definitions into modules that were imported before; return what they replaced.

    A class stays if it has subclasses or if a table holds it, so that one name does not mean two classes.
    """
    made = {name: of for name, module in modules_of_common().items() for of in _imported(name, module, finder)}
    replaced: list[tuple[ModuleType, str, Any]] = []
    while found := next(_adoptable(made), None):
        of, name = found
        old, stand_in = vars(of.module)[name], served(of.engine, of.definition(name).edition)
        of.put[name] = stand_in
        for other in made.values():
            keys = [key for key, value in vars(other.module).items() if value is old]
            replaced += [(other.module, key, old) for key in keys]
            vars(other.module).update(dict.fromkeys(keys, stand_in))
    for of in made.values():
        for name in of.recognition.definitions.keys() - of.put.keys():
            of.recognition.refuse(name, "in use before the swap, or uses a name that is not the book's")
        of.watch()
    return replaced


def _imported(name: str, module: ModuleType, finder: Finder) -> Iterator[Made]:
    if name.partition(".")[2] in BOOK:
        loader = getattr(module, "__loader__", None)
        tree = _parsed(source_of(loader, name))
        if tree:
            yield Made(module, tree, loader.get_filename(name), finder.engine)  # type: ignore[union-attr]
        else:
            finder.unread[name] = "its source cannot be read"


def _adoptable(made: dict[str, Made]) -> Iterator[tuple[Made, str]]:
    for of in made.values():
        for name, definition in of.recognition.definitions.items():
            value = vars(of.module).get(name)
            if (
                name not in of.put
                and _is_as_written(value, definition.node, of)
                and not any(_holds(other.module, value) for other in made.values())
                and not of.recognition.misses(name, vars(of.module))
                and _is_as_it_was(served(of.engine, definition.edition))
            ):
                yield of, name


def _is_as_written(value: Any, node: Any, made: Made) -> bool:
    """Whether a function or class is what the source says, undecorated and unchanged."""
    if isinstance(node, ast.FunctionDef):
        if type(value) is not FunctionType:
            return False
        return (value.__code__.co_filename, value.__code__.co_firstlineno) == (made.path, node.lineno)
    if not isinstance(value, type) or (value.__module__, value.__qualname__) != (made.module.__name__, node.name):
        return False
    written = {_mangled(part.name, node.name): part for part in node.body if isinstance(part, ast.FunctionDef)}
    found = {key: method for key, method in vars(value).items() if key not in _OF_EVERY_CLASS}
    return found.keys() == written.keys() and all(_is_as_written(found[key], written[key], made) for key in found)


def _mangled(name: str, owner: str) -> str:
    return f"_{owner.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name


def _holds(module: ModuleType, value: Any) -> bool:
    """Whether a class has subclasses, or a table of the module holds the value."""
    if isinstance(value, type) and type.__subclasses__(value):
        return True
    values = [of for key, of in vars(module).items() if key != "__builtins__"]
    tables = [of.values() if isinstance(of, dict) else of for of in values if isinstance(of, (dict, list, tuple, set))]
    return any(value is item for table in tables for item in table)


def recognised_in(module: ModuleType) -> list[str]:
    """The definitions of a module whose own code is the book's."""
    loader = getattr(module, "__loader__", None)
    tree = _parsed(source_of(loader, module.__name__))
    return list(Recognition(tree, "c").definitions) if tree else []
