"""The swap: `common`, the package that the book's scripts import, computes on this engine.

`names` and `table` list the book's definitions in every edition. `recognition` finds these definitions in a module's
syntax tree. `modules` replaces them by the engine's while the module is executed. `installing` has the public
functions, `running` is `zerodl-c run`, and `children` serves the processes that a script starts. `comparing`,
`watching` and `reporting` are loaded only for `--verify` and `--report`. Each module imports only modules named before
it here.
"""

from .installing import HOOK, install, start, uninstall

__all__ = ["HOOK", "install", "start", "uninstall"]
