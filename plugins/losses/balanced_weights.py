"""Class weights as scikit-learn's class_weight="balanced" has them (King & Zeng, 2001)."""

from ltbench import Method, hookimpl


class ClassWeights(Method):
    """Weighs the rows of class c by n / (C n_c).

    The weights of the rows have mean 1, so that a penalty keeps its meaning. A network's loss is
    divided by the sum of the weights in the batch, which makes this `inverse-frequency`.
    """

    name = "class-weights"
    reference = "doi:10.1093/oxfordjournals.pan.a004868"
    corrects = "prior"

    def prepare(self, run):
        self.weights = 1 / (run.num_classes * run.seen)

    def weight(self, labels, run):
        return self.weights[labels]


@hookimpl
def register_methods(register):
    register(ClassWeights)
