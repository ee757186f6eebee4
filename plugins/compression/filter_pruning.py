"""Filter pruning by absolute weights (Li et al., ICLR 2017), bp, and the whole network."""

from ltbench import Method, hookimpl
from ltbench.tracks.compression.contract import Compressor
from ltbench.tracks.compression.pruning import pruned


class Teacher(Method):
    """Keeps the whole network: a control, which is no compression."""

    name = "teacher"
    reference = "none: a control"
    needs = frozenset({"teacher"})
    expected_failures = {"network is smaller": "it is the whole network, to compare with"}

    def build(self, model, run):
        return model

    def phases(self, plan, run):
        return []


class L1(Compressor):
    """Prunes each layer to the filters with the largest sums of absolute weights; no recovery.

    As all that prune here: layers that share filters around a shortcut stay whole, and so does the
    last one. Another method of the recipe may rank the filters in its own way.
    """

    name = "l1"
    reference = "arXiv:1608.08710"
    needs = frozenset({"teacher"})

    def build(self, model, run):
        pruned(model, run)
        return model

    def phases(self, plan, run):
        return []


class BP(Compressor):
    """Prunes as `l1` does and trains on with the labels alone: a control of all that distil."""

    name = "bp"
    reference = "arXiv:1608.08710"
    needs = frozenset({"teacher"})

    def build(self, model, run):
        pruned(model, run)
        return model


@hookimpl
def register_methods(register):
    register(Teacher)
    register(L1)
    register(BP)
