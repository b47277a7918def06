"""How layers and optimizers are shown."""

from inspect import signature
from typing import Any

import numpy as np


class Shown:
    """Shown by the arguments it is made with, as they are now: arrays by their shapes."""

    def __repr__(self) -> str:
        names = [*signature(type(self).__init__).parameters][1:]
        held = {name: getattr(self, name, None) for name in names}
        shown = [f"{name}={_value(value)}" for name, value in held.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


def _value(value: Any) -> Any:
    return value.shape if isinstance(value, np.ndarray) and value.ndim else f"{value!s:.40}"
