"""Iterative magnitude pruning with a class-dependent loss (Entezari and Saukh, 2020)."""

from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from ltbench import Share, Uniform, hookimpl
from ltbench.tracks.compression.pruning import pruned
from ltbench_plugins.compression.filter_pruning import L1
from ltbench_plugins.tables.class_weights import scaled

ROUNDS = ("shrink 1", "shrink 2", "shrink 3", "shrink 4", "shrink 5", "shrink 6")


class ClassDependentPruning(L1):
    """Prunes a little, trains, and prunes again, while the loss of rare classes counts more.

    Before each of `rounds` the share of filters that stays falls by the same factor, to the
    protocol's at the last; half of the epochs go to the rounds, the rest to what follows. A class
    weighs (1/n_c)^power. Departures: whole filters go, where the paper masks single weights, which
    makes no network smaller; weights are not rewound; and the weighted cross-entropy alone of the
    paper's two terms.
    """

    name = "class-dependent-pruning"
    reference = "arXiv:1909.10364"
    roles = ("main", *ROUNDS)
    corrects = "prior"
    space = {"power": Uniform(0.0, 1.0)}

    def __init__(self, rounds: Annotated[int, Meta(ge=1, le=6)] = 3, power: Share = 1.0):
        self.rounds = rounds
        self.power = power

    def build(self, model, run):
        return model

    def phases(self, plan, run):
        main, *others = plan
        each = main.epochs // (2 * self.rounds)
        rounds = [replace(main, role=role, epochs=each) for role in ROUNDS[: self.rounds]]
        return [*rounds, replace(main, epochs=main.epochs - each * self.rounds), *others]

    def enter(self, train, run):
        if run.phase.role in ROUNDS:
            done = (ROUNDS.index(run.phase.role) + 1) / self.rounds
            pruned(run.model.eval().requires_grad_(True), run, run.granted.compressing.keep**done)
        return train

    def prepare(self, run):
        self.weights = scaled(run.seen**-self.power)

    def weight(self, labels, run):
        return self.weights[labels]


@hookimpl
def register_methods(register):
    register(ClassDependentPruning)
