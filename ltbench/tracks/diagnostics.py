"""Diagnostics: how a trained network's features and weights stand, where a protocol asks for it.

They describe a network and need no label of a test row, so they are reckoned where it is.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ltbench.contract.context import PREDICTED_AT_ONCE, Run
from ltbench.protocols.schema import Classification
from ltbench.results.records import Scores
from ltbench.scoring.collapse import Classes, mean_cosine
from ltbench.scoring.measures import SHARES, Measure
from ltbench.scoring.spectrum import evenness
from ltbench.tracks.classification import Parts, begin

UPDATE = "update_entropy"


def _described(name: str, label: str, explanation: str, **more: object) -> Measure:
    told = {"better": "lower", "unit": "", "form": "{:.2f}", "chosen": True} | more
    return Measure(name, label, explanation, **told)  # type: ignore[arg-type]


DIAGNOSTICS = (
    _described(
        "nc1",
        "NC1",
        "*NC1*: spread of training features within classes over that of class means",
    ),
    _described(
        "nc2", "NC2", "*NC2*: distance of the class means from a simplex of equal angles and norms"
    ),
    _described("nc3", "NC3", "*NC3*: the same of the weights and the class means together"),
    _described(
        "nc4",
        "NC4",
        "*NC4*: test rows to which the classifier, without bias, gives the class of the nearest "
        "class mean",
        better="higher",
        unit="%",
        form="",
        limits=SHARES,
    ),
    _described(
        "weight_ratio",
        "weights many/few",
        "*weights many/few*: mean norm of the classifier's weights of many-shot classes over that "
        "of few-shot ones",
    ),
    _described(
        "mean_ratio",
        "means many/few",
        "*means many/few*: the same of class means of training features",
    ),
    _described(
        "few_cosine",
        "few cosine",
        "*few cosine*: mean cosine of the weights of two few-shot classes, near 1 where they have "
        "collapsed into one",
        limits=(-1.0, 1.0),
    ),
    _described(
        UPDATE,
        "update entropy",
        "*update entropy*: how evenly the singular values stand in what training added to a matrix "
        "of weights, the mean over matrices; 1 where all are alike",
        better="higher",
        limits=(0.0, 1.0),
    ),
)
NAMES = tuple(measure.name for measure in DIAGNOSTICS)


def asked_of(protocol: Classification) -> list[str]:
    """The diagnostics that a protocol asks for."""
    return [name for name in protocol.scoring.metrics if name in NAMES]


@torch.no_grad()
def diagnosed(
    protocol: Classification, model: nn.Module, parts: Parts, inputs: Tensor, run: Run
) -> dict[str, float | str]:
    """Those that a protocol asks for and the network has, of its training rows and of the test
    `inputs` [N, ...].

    A network without one linear classifier on its features has what training added alone.
    """
    asked = set(asked_of(protocol))
    told: dict[str, float | str] = {}
    if UPDATE in asked:
        entropy = added(model, begin(protocol, parts, run.seed, run.device).model)
        told = {} if entropy is None else {UPDATE: entropy}
    head = getattr(model, "head", None)
    if not asked - {UPDATE} or not isinstance(head, nn.Linear):
        return told
    train = parts.train.inputs_at(torch.arange(len(parts.train))).to(run.device)
    features, tested = (_features(model, rows, run) for rows in (train, inputs))
    if features.shape[1] != head.in_features or head.out_features != run.num_classes:
        return told
    labels = parts.train.labels.to(run.device)
    found = of_features(features, labels, head.weight, tested, protocol, parts.class_counts)
    there = {name: value for name, value in found.items() if name in asked and value is not None}
    return told | there


@torch.no_grad()
def added(model: nn.Module, start: nn.Module | None) -> float | None:
    """The evenness of what training added to matrices of weights, the mean over them.

    A convolution is the matrix [out, all the rest]. Those count that the plain network at its
    start has too, by name and shape, and that have moved; None without any.
    """
    before = {} if start is None else dict(start.named_parameters())
    moved = [
        (weight - before[name]).flatten(1)
        for name, weight in model.named_parameters()
        if weight.dim() > 1 and name in before and before[name].shape == weight.shape
    ]
    each = [evenness(change) for change in moved if change.any()]
    return float(np.mean(each)) if each else None


def _features(model: nn.Module, rows: Tensor, run: Run) -> Tensor:
    some = rows.split(PREDICTED_AT_ONCE)
    return torch.cat([run.through(model, run.plain(part)) for part in some])


def of_features(
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    tested: Tensor,
    protocol: Classification,
    class_counts: list[int],
) -> Scores:
    """All of them by name, of training features [N, D] with labels [N], weights [C, D] and test
    features [M, D]; None where there are no such classes."""
    classes = Classes(features, labels, len(class_counts))
    counts = np.array(class_counts)
    few, many = protocol.scoring.shot_splits
    groups = torch.from_numpy(counts > many), torch.from_numpy((counts < few) & (counts > 0))
    weights = weights.double()
    lengths = torch.zeros(len(counts), dtype=torch.float64, device=weights.device)
    lengths[classes.there] = classes.means.norm(dim=1)
    decided = (tested.double() @ weights.T).argmax(dim=1)
    return {
        "nc1": classes.nc1(),
        "nc2": classes.nc2(),
        "nc3": classes.nc3(weights),
        "nc4": float((decided == classes.nearest(tested)).double().mean()),
        "weight_ratio": _ratio(weights.norm(dim=1), *groups),
        "mean_ratio": _ratio(lengths, *groups),
        "few_cosine": mean_cosine(weights[groups[1].to(weights.device)]),
    }


def _ratio(lengths: Tensor, many: Tensor, few: Tensor) -> float | None:
    """The mean length of many-shot classes over that of few-shot ones."""
    above, below = (lengths[group.to(lengths.device)] for group in (many, few))
    if not len(above) or not len(below) or float(below.mean()) == 0:
        return None
    return float(above.mean() / below.mean())


def measured(protocol: Classification, told: Mapping[str, float | str]) -> Scores:
    """The measures of an answer; None for one that its network does not have."""
    return {name: _number(told.get(name)) for name in asked_of(protocol)}


def _number(value: float | str | None) -> float | None:
    return None if value is None else float(value)
