"""Errors that end a command early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class CommandError(Exception):
    """An error that the user can fix. It is reported as one line, without a traceback."""


class UsersError(Exception):
    """An error of the user's own code. It is shown as Python shows it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def users(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call the user's own code. Its errors become UsersErrors."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        raise UsersError(error) from None
