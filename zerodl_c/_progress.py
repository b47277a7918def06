"""tqdm's bars, for what takes long: an extra that is imported when it is asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ._extras import need


def bars() -> Any:
    """tqdm: with widgets in a notebook that has them, else in text. MissingExtra if there is none."""
    need("progress", "tqdm")
    if find_spec("ipywidgets"):
        from tqdm.auto import tqdm
    else:  # tqdm.auto would warn
        from tqdm import tqdm
    return tqdm


@contextmanager
def bar(steps: int | None) -> Iterator[Callable[[Mapping[str, Sequence[float]]], None]]:
    """A bar of so many steps, or none at all: what to call after each with lists, whose last numbers it shows."""
    if steps is None:
        yield lambda lists: None
        return
    with bars()(total=steps, unit="step") as shown:

        def show(lists: Mapping[str, Sequence[float]]) -> None:
            last = {name: f"{values[-1]:.4f}" for name, values in lists.items() if values}
            shown.set_postfix(last, refresh=False)
            shown.update()

        yield show
