"""What ends a command early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class CommandError(Exception):
    """What the user can mend. It is reported as one line, without a traceback."""


class UsersError(Exception):
    """What the user's own code raised. It is shown as Python shows it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def users(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call the user's own code."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        raise UsersError(error) from None
