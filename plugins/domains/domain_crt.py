"""Classifier re-training on classes alike in each domain (as in the code of BoDA: ECCV 2022)."""

from ltbench import hookimpl
from ltbench_plugins.domains.draws import alike_in_each_domain
from ltbench_plugins.stages.crt import CRT


class DomainCRT(CRT):
    """Trains plainly, then a new head alone, with domains drawn alike and classes within each.

    All else is as in `crt`; without domains this is `crt`. Departures: that code trains the second
    stage by Adam for as many steps as the first; here it is a ninth of the epochs by default.
    """

    name = "domain-crt"
    reference = "arXiv:2203.09513"
    needs = frozenset({"groups"})

    def sampling_weights(self, labels, run):
        return alike_in_each_domain(labels, run)


@hookimpl
def register_methods(register):
    register(DomainCRT)
