"""Central differences, for both engines.

`evaluate` calls f at points where single entries of x are changed, and `c_function` recognises an f in C. `formula` has
the points and the formulas, and `auto_step` finds the step of h="auto". `gradient` puts them together.

`check` is `gradient_check`: `problem` describes what is checked, and `measure` compares the derivatives.

`proof` calls f some 30 times instead of twice for each entry, if f is a chain of an engine's layers. `notes` watches
one evaluation of f, `plan` finds the chain in the notes, and `changes` computes how each entry changes the loss. None
of them imports an engine: the C engine passes them an `engine.Engine`.
"""
