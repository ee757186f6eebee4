"""Random oversampling: rare classes are drawn more often (Buda et al., Neural Networks 2018)."""

from ltbench import Method, hookimpl


class Oversampling(Method):
    """Draws every class equally often, with replacement, in as many steps as plain training."""

    name = "oversampling"
    reference = "arXiv:1710.05381"
    corrects = "prior"

    def sampling_weights(self, labels, run):
        return (1 / labels.bincount())[labels]


@hookimpl
def register_methods(register):
    register(Oversampling)
