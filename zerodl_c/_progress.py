"""tqdm's bars, for what takes long: an extra that is imported when it is asked for."""

from importlib.util import find_spec
from typing import Any


def bars() -> Any:
    """tqdm: with widgets in a notebook that has them, else in text. ImportError with what to install, if it is not."""
    try:
        if find_spec("ipywidgets"):
            from tqdm.auto import tqdm
        else:  # tqdm.auto would warn
            from tqdm import tqdm
    except ImportError:
        raise ImportError("progress=True needs tqdm: pip install 'zerodl_c[progress]'") from None
    return tqdm
