"""Plain training: cross-entropy on the rows as they are (empirical risk minimisation)."""

from ltbench import Method, hookimpl


class ERM(Method):
    """Plain training, the row that every other is compared with."""

    name = "erm"
    reference = "Vapnik, NIPS 1991"
    neutral = {}


@hookimpl
def register_methods(register):
    register(ERM)
