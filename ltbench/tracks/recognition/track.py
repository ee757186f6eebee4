"""Recognition: train a network from scratch on an imbalanced set, score it on the test split."""

import copy
from functools import partial

import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Outcome
from ltbench.datasets import Dataset
from ltbench.tracks.classification import (
    begin,
    recalls_of,
    refuse_foreign,
    refuse_needs,
    score,
    split,
    time_plain,
    timed,
)
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.shared_stages import first_stage
from ltbench.training import checkpoints
from ltbench.training.engine import generator, predict, train
from ltbench.training.timing import Clock

SUPPLIES = frozenset({"test_inputs"})


def run(
    protocol: Recognition, recipe: Recipe, seed: int, dataset: Dataset, device: torch.device
) -> Outcome:
    """Trains `recipe` with one seed and scores its last epoch on the test split.

    Raises:
        Unmet: the recipe needs what the protocol does not supply.
        Diverged: the loss or the scores are not finite.
        LTBenchError: the protocol does not fit the data.
    """
    refuse_unmet(protocol, recipe, len(dataset.classes))
    parts = split(protocol, dataset, seed)
    run = begin(protocol, parts, seed, device)
    train_rows = parts.train.to(device)
    validation = parts.validation.to(device) if parts.validation is not None else None
    kept = checkpoints.current()
    resume = kept.read(run)

    def plain(steps: int | None = None) -> float:
        return time_plain(protocol, parts, seed, device, steps)

    with first_stage(
        protocol, recipe, train_rows, begin(protocol, parts, seed, device), resume, plain
    ) as stage:
        kept.stage = stage.key or kept.stage
        before = stage.before(plain)
        with Clock(device, stage.cost or kept.earlier) as clock:
            model = train(
                recipe,
                train_rows,
                run,
                protocol.budget.batch_size,
                validation,
                checkpoint=partial(kept.write, recipe, run, clock),
                due=kept.due,
                resume=stage.state or resume,
                ended=partial(stage.ended, clock, before),
            )
    reference = stage.beside(plain, before, clock)

    test = parts.test().to(device)
    scores, predicted = predict(recipe, model, test.inputs, run)
    scored, predictions = score(protocol, parts, test.labels, scores, predicted)
    transductive = None
    if recipe.adapts:
        # in an order that tells nothing of the labels
        order = torch.randperm(len(test), generator=generator(run, "test order"), device=device)
        adapted = recipe.adapt(copy.deepcopy(model), test.inputs[order], run)
        again = predict(recipe, adapted, test.inputs, run)
        transductive, _ = score(protocol, parts, test.labels, *again)
    passes = run.passes / (len(parts.train) * protocol.budget.epochs)
    return Outcome(
        measures=scored,
        timing=timed(clock, reference, passes, *stage.owed),
        transductive=transductive,
        recall=recalls_of(predictions.labels, predictions.predicted, len(dataset.classes)),
        class_counts=parts.class_counts,
        arrays=predictions.arrays(len(parts.class_counts)),
        notes=run.notes,
        continued=kept.times,
        stage=kept.stage,
    )


def refuse_unmet(protocol: Recognition, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    supplied = SUPPLIES | ({"two_classes"} if num_classes == 2 else set())
    refuse_needs(protocol, recipe, supplied)
