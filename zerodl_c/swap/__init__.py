"""The swap: `common`, the package that the book's scripts import, computes on this engine.

`names` and `table` say what the book has, in every edition; `recognition` finds it in a module's syntax tree; `modules`
puts the engine's in its place while the module is made; `installing` is what everybody calls, `running` is `zerodl-c
run`, `children` are processes that a script starts. `comparing`, `watching` and `reporting` are loaded for `--verify`
and `--report` alone. Each imports only what stands before it here.
"""

from .installing import HOOK, install, start, uninstall

__all__ = ["HOOK", "install", "start", "uninstall"]
