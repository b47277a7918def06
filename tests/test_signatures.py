"""The two engines have one API: the same names, signatures, documentation and type hints."""

import importlib
import inspect

import pytest
from api import FUNCTIONS

import zerodl_c
from zerodl_c import _config, reference

MODULES = [
    "functions",
    "gradient",
    "layers",
    "multi_layer_net",
    "multi_layer_net_extend",
    "optimizer",
    "saving",
    "sequential",
    "simple_conv_net",
    "trainer",
    "two_layer_net",
    "util",
]


def module(engine, name):
    return importlib.import_module(f"{engine}.{name}")


def public(module):
    """The functions and classes that a module defines, and does not hide."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ in (module.__name__, f"zerodl_c.differences.{module.__name__.split('.')[-1]}")
    }


def methods(cls):
    """What a class offers, its base classes included, by name."""
    return {
        name: value
        for name, value in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") or name == "__init__"
    }


NAMES = [(name, public_name) for name in MODULES for public_name in sorted(public(module("zerodl_c.reference", name)))]
every_name = pytest.mark.parametrize(("of", "name"), NAMES, ids=lambda value: value)


def test_the_engines_export_the_same_names():
    configuration = {"get_include", "get_num_threads", "install", "set_num_threads", "show_config", "uninstall"}
    assert set(zerodl_c.__all__) - configuration == set(reference.__all__)
    for engine in (zerodl_c, reference):
        assert len(engine.__all__) == len(set(engine.__all__))  # ruff sorts them
        assert all(hasattr(engine, name) for name in engine.__all__)


@pytest.mark.parametrize("of", MODULES)
def test_the_modules_export_the_same_names(of):
    names = public(module("zerodl_c.reference", of))
    assert {name for name in module("zerodl_c", of).__all__ if name[0] != "_"} == names
    assert names <= set(zerodl_c.__all__)


@every_name
def test_signatures(of, name):
    in_c, in_numpy = (getattr(module(engine, of), name) for engine in ("zerodl_c", "zerodl_c.reference"))
    if not inspect.isclass(in_c):
        assert inspect.signature(in_c) == inspect.signature(in_numpy)
        return
    assert methods(in_c).keys() == methods(in_numpy).keys()
    for method, function in methods(in_c).items():
        assert inspect.signature(function) == inspect.signature(methods(in_numpy)[method]), method


def documented_and_typed(function, name):
    assert inspect.getdoc(function), f"{name} has no docstring"
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    bare = [p.name for p in parameters if p.annotation is p.empty]
    assert not bare, f"{name} has no type hints for {bare}"
    assert signature.return_annotation is not signature.empty, f"{name} has no type hint for its result"


@pytest.mark.parametrize("engine", ["zerodl_c", "zerodl_c.reference"])
@every_name
def test_documentation_and_type_hints(engine, of, name):
    value = getattr(module(engine, of), name)
    if engine == "zerodl_c":  # the reference has the formulas, and the examples stand once
        assert ">>>" in inspect.getdoc(value), f"{name} has no example"
    if inspect.isfunction(value):
        documented_and_typed(value, name)
    else:
        for method, function in methods(value).items():
            if method == "__init__":
                function.__doc__ = function.__doc__ or value.__doc__  # said at the class
            documented_and_typed(function, f"{name}.{method}")


@pytest.mark.parametrize("name", _config.__all__)
def test_documentation_and_type_hints_of_the_configuration(name):
    documented_and_typed(getattr(_config, name), name)


def test_no_function_is_left_out_of_the_tests():
    assert set(FUNCTIONS) == set(zerodl_c.functions.__all__) - {"identity_function"}


def test_help_shows_short_signatures():
    """`ArrayLike`, and not the hundreds of characters of the union that it is."""
    for name in zerodl_c.functions.__all__:
        assert len(str(inspect.signature(getattr(zerodl_c.functions, name)))) < 100
    for value in [getattr(zerodl_c, name) for name in zerodl_c.__all__]:
        for function in methods(value).values() if inspect.isclass(value) else [value]:
            assert "_SupportsArray" not in str(inspect.signature(function)), function


def test_functions_say_where_they_are():
    """Pickle and tracebacks find a function by its module and name."""
    for name in zerodl_c.functions.__all__:
        value = getattr(zerodl_c.functions, name)
        assert getattr(importlib.import_module(value.__module__), value.__qualname__) is value
