"""What a missing extra is told by: one line that names it, before any work."""

from __future__ import annotations

from importlib import import_module

__all__ = ["MissingExtra", "need"]


class MissingExtra(ModuleNotFoundError):
    """A module of an extra is missing or cannot be imported. The message is one line."""


def need(extra: str, *modules: str) -> None:
    """Import the modules that something is about to use.

    Parameters
    ----------
    extra : str
        The extra of this package that brings them.
    *modules : str
        Their full names.

    Raises
    ------
    MissingExtra
        If one of them, or what it needs itself, is missing or broken.

    Examples
    --------
    >>> need("demo", "no_such_module")
    Traceback (most recent call last):
    zerodl_c._extras.MissingExtra: the module no_such_module is missing: pip install 'zerodl_c[demo]'
    """
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            message = f"the module {error.name} is missing: pip install 'zerodl_c[{extra}]'"
            raise MissingExtra(message, name=error.name) from None
        except ImportError as error:
            raise MissingExtra(f"the module {module} cannot be imported: {error}", name=module) from None
