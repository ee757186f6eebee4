"""Classifier re-training on classes alike in each domain (as in the code of BoDA: ECCV 2022)."""

from ltbench import Share, Uniform, hookimpl
from ltbench_plugins.domains.draws import alike_in_each_domain
from ltbench_plugins.stages.crt import CRT


class DomainCRT(CRT):
    """Trains plainly, then a new head alone, with domains drawn alike and classes within each.

    `share` is the length of the second stage in first ones: as long, as in that code, which takes
    Adam for it. All else is as in `crt`, which this is without domains at the same share.
    """

    name = "domain-crt"
    reference = "arXiv:2203.09513"
    needs = frozenset({"groups"})
    space = {"share": Uniform(0.1, 1.0)}

    def __init__(self, share: Share = 1.0):
        super().__init__(share)

    def sampling_weights(self, labels, run):
        return alike_in_each_domain(labels, run)


@hookimpl
def register_methods(register):
    register(DomainCRT)
