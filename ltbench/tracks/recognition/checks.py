"""The checks of a method that trains a network to tell classes apart."""

import copy
from collections.abc import Mapping
from functools import partial

import torch
from msgspec import structs

from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Check
from ltbench.datasets import Dataset
from ltbench.testing.checks import shared
from ltbench.testing.report import NotApplicable, expect, named
from ltbench.testing.task import OF_NETWORKS, Spy, counts_for, expect_unseen
from ltbench.tracks.classification import begin, split
from ltbench.tracks.marked import expect_deaf, fields, marked
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.recognition.track import SUPPLIES, run
from ltbench.tracks.shared_stages import KEPT, key_of
from ltbench.training import engine
from ltbench.training.engine import State

NEEDS = SUPPLIES | {"two_classes", "ordered"}


def checks(recipe: Recipe) -> Mapping[str, Check]:
    """The checks of a recipe of networks; none where it needs what recognition does not supply."""
    of_networks = all("network" in method.models for method in recipe.methods)
    if not of_networks or recipe.all_needs - NEEDS:
        return {}
    own = named((held_out_rows_stay_out, a_shared_first_stage_changes_nothing))
    return {**shared(OF_NETWORKS), **own}


def held_out_rows_stay_out(method: Recipe) -> None:
    protocol, dataset = marked(min(3, len(counts_for(method))), small)
    spy = Spy()
    run(protocol, Recipe(*method.methods, spy), 0, dataset, torch.device("cpu"))
    expect_unseen(spy)


def a_shared_first_stage_changes_nothing(method: Recipe) -> None:
    protocol, dataset = marked(min(3, len(counts_for(method))), small)
    parts = split(protocol, dataset, 0)
    fresh = partial(begin, protocol, parts, 0, torch.device("cpu"))
    if not key_of(protocol, method, parts.train, fresh()):
        raise NotApplicable("methods act in its first stage, which is therefore not shared")
    plain, left = fresh(), []
    _, plan = engine.begin(copy.deepcopy(method), parts.train, fresh())
    plain.phase = plan[0]

    def keep(state: State) -> None:
        left.append({name: copy.deepcopy(state[name]) for name in KEPT})

    trained = partial(engine.train, batch_size=protocol.budget.batch_size)
    trained(Recipe(Method()), parts.train, plain, ended=keep)
    told = []
    for begins in (None, left[0]):
        own, run = copy.deepcopy(method), fresh()
        model = trained(own, parts.train, run, validation=parts.validation, resume=begins)
        scores, _ = engine.predict(own, model, parts.test().inputs, run)
        told.append({**model.state_dict(), "scores": scores, "seen": run.seen})
        told[-1] |= {"passes": torch.tensor(run.passes), "chance": run.rng.get_state()}
    differing = [name for name in told[0] if not torch.equal(told[0][name], told[1][name])]
    expect(
        not differing,
        "expected the same bits from a first stage that plain training left as from one of its "
        f"own, but {', '.join(differing)} differ; act in hooks, and let phases plan alone",
    )


def small(dataset: Dataset) -> Recognition:
    return Recognition(**fields(dataset))


def learning(dataset: Dataset) -> Recognition:
    """A protocol whose networks learn enough to give rows different classes."""
    protocol = small(dataset)
    return structs.replace(protocol, budget=structs.replace(protocol.budget, epochs=20))


def decoys_change_nothing(method: Recipe) -> None:
    expect_deaf(method, learning, run)


THOROUGH = named((decoys_change_nothing,))
