"""Central differences, for both engines.

`evaluate` calls f where single entries of x have other values, and `c_function` recognises an f in C; `formula` says at
which points, and what follows; `auto_step` finds the step of h="auto"; `gradient` puts them together.

`check` is `gradient_check`: `problem` says what it checks, and `measure` compares.

`proof` calls f some 30 times instead of twice for each entry, where f is a chain of an engine's layers: `notes` watches
one evaluation of f, `plan` makes a chain of the notes, and `changes` computes what the entries change in it. They know
no engine: `engine` holds what they use of one, and the C engine gives it.
"""
