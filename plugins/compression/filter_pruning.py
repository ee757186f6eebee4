"""Filter pruning by absolute weights (Li et al., ICLR 2017), bp, and the whole network."""

from typing import Literal

import torch

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


class Pruned(Compressor):
    """Prunes as `l1` does; a method says how the rest learns around the head of the teacher.

    That head is `kept`, or `learns` too. One that another method has put in its place learns.
    """

    needs = frozenset({"teacher"})
    head = "kept"

    def build(self, model, run):
        pruned(model, run)
        return model

    def prepare(self, run):
        if self.head == "kept" and run.model is not None and of_teacher(run.model.head, run):
            run.model.head.requires_grad_(False)


class BP(Pruned):
    """Prunes as `l1` does and trains on with the labels alone: a control of all that distil.

    The head stays the teacher's, as in the codes of CMa-FSMC and PRACTISE, which treat this control
    like what distils; with `head` "learns" it is trained like the rest.
    """

    name = "bp"
    reference = "arXiv:1608.08710"

    def __init__(self, head: Literal["kept", "learns"] = "kept"):
        self.head = head


def of_teacher(head, run):
    """Whether a head is the teacher's to the bit."""
    own, taught = head.state_dict(), run.granted.teacher.head.state_dict()
    return own.keys() == taught.keys() and all(torch.equal(own[key], taught[key]) for key in own)


@hookimpl
def register_methods(register):
    register(Teacher)
    register(L1)
    register(BP)
