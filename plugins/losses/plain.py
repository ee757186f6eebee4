"""Plain training with its two dials, learning rate and weight decay: the floor of tuned boards.

Both are factors of what the protocol states; at 1 it is plain training bit for bit. Of an estimator
the second is a factor of what regularizes it, as far as it has such: `C` of a logistic regression
is divided by it, the smallest leaf of trees multiplied; the first is one of boosting's rate.
"""

from dataclasses import replace

from ltbench import LogUniform, Method, NonNegative, Positive, hookimpl

SMALLEST = 1e-9  # by which C is divided


class Plain(Method):
    """Plain training at another learning rate and weight decay than the protocol's."""

    name = "plain"
    reference = "Vapnik, NIPS 1991"
    models = frozenset({"network", "estimator"})
    neutral = {}
    space = {"lr": LogUniform(1 / 16, 16), "weight_decay": LogUniform(1 / 32, 32)}

    def __init__(self, lr: Positive = 1.0, weight_decay: NonNegative = 1.0):
        self.lr = lr
        self.weight_decay = weight_decay

    def build(self, model, run):
        if hasattr(model, "get_params"):
            return model.set_params(**self.of_estimator(model.get_params()))
        lr, decay = self.lr * run.phase.lr, self.weight_decay * run.phase.weight_decay
        run.phase = replace(run.phase, lr=lr, weight_decay=decay)
        return model

    def of_estimator(self, given):
        """The parameters of an estimator that change, of those that it has."""
        changed = {
            "learning_rate": lambda rate: rate * self.lr,
            "C": lambda c: c / max(self.weight_decay, SMALLEST),
            "min_samples_leaf": lambda rows: max(1, round(rows * self.weight_decay)),
            "reg_lambda": lambda penalty: penalty * self.weight_decay,
        }
        numbers = {name: given[name] for name in changed if type(given.get(name)) in (int, float)}
        return {name: changed[name](value) for name, value in numbers.items()}


@hookimpl
def register_methods(register):
    register(Plain)
