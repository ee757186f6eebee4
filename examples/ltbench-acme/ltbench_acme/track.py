"""Several labels a row: which two digits stand in an image, where some digits are rare."""

from functools import partial
from typing import Annotated

import msgspec
import torch
from msgspec import Meta, Struct
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn.functional import one_hot

from ltbench import (
    LTBenchError,
    Measure,
    Method,
    Outcome,
    Phase,
    Protocol,
    Rows,
    Run,
    Timing,
    Track,
    Unmet,
    hooks,
)
from ltbench.training import checkpoints, events
from ltbench.training.engine import generator, predict, seeded, train
from ltbench.training.timing import Clock
from ltbench_acme.contract import SEVERAL, LabelGrants, LabelMethod, LabelRecipe

ON_ONE_LABEL = {"resample", "enter", "sampling_weights", "batch", "adjust", "weight", "extra"}
NEVER = {"criterion", "decide", "adapt"}

AtLeastOne = Annotated[int, Meta(ge=1)]


class MultiLabel(Protocol, frozen=True, kw_only=True, tag="labelsets"):
    """Images of two digits; the commonest is drawn `factor` times as often as the rarest.

    The rows to test on are of other digits, which all come equally often.
    """

    measures: tuple[str, ...]
    fingerprint: str
    rows: AtLeastOne
    test_rows: AtLeastOne
    factor: Annotated[float, Meta(ge=1)]
    width: AtLeastOne
    epochs: AtLeastOne
    batch_size: AtLeastOne
    lr: Annotated[float, Meta(gt=0)]
    weight_decay: Annotated[float, Meta(ge=0)]


class OfLabels(Struct, frozen=True):
    """What a record keeps beside its measures: the average precision of each label."""

    average_precision: dict[str, float]


class MultiLabelTrack(Track[MultiLabel]):
    """A network tells which labels a row has, some of which are rare."""

    name = "labelsets"
    problem = MultiLabel
    hooks = LabelMethod
    needs = frozenset({SEVERAL})
    floor = ("erm",)
    measures = (
        Measure("mean_average_precision", "mAP", "*mAP*: average precision, mean over labels"),
        Measure(
            "wrong_labels",
            "wrong",
            "*wrong*: labels that are wrong, of {0.test_rows} rows",
            better="lower",
            table="first",
        ),
    )

    def load(self, registry, protocol):
        return {"": registry.dataset("digits")()}

    def plan(self, protocol, sources, device):
        found = sources[""].fingerprint
        if found != protocol.fingerprint:
            raise LTBenchError(
                f"digits have fingerprint {found}; {protocol.name} needs {protocol.fingerprint}"
            )

    def shown(self, protocol):
        return list(protocol.measures)

    def seconds(self, protocol, source, device):
        return plain_work(protocol, training_rows(protocol, source, 0), 0, device)

    def run(self, protocol, recipe, seed, source, device):
        refuse_unmet(recipe)
        recipe = LabelRecipe(*recipe.methods)
        rows = training_rows(protocol, source, seed).to(device)
        run = begin(protocol, rows, seed, device)
        kept = checkpoints.current()
        resume = kept.read(run)
        with Clock(device, kept.earlier) as clock:
            model = train(
                recipe,
                rows,
                run,
                protocol.batch_size,
                checkpoint=partial(kept.write, recipe, run, clock),
                due=kept.due,
                resume=resume,
            )
        reference = plain_work(protocol, rows, seed, device)
        test = test_rows(protocol, source, seed).to(device)
        scores, labels = predict(recipe, model, test.inputs, run)
        precision = average_precision_score(test.labels.cpu(), scores.cpu(), average=None)
        return Outcome(
            measures={
                "mean_average_precision": precision.mean().item(),
                "wrong_labels": (labels != test.labels).float().mean().item(),
            },
            timing=Timing(
                seconds=clock.seconds,
                work=clock.work,
                reference_work=reference,
                relative=clock.work / reference,
                passes=run.passes / (len(rows) * protocol.epochs),
                peak_memory_mb=clock.peak_memory_mb,
            ),
            class_counts=run.exact_counts.long().tolist(),
            notes=run.notes,
            details=OfLabels(dict(zip(source.classes, precision.tolist(), strict=True))),
            continued=kept.times,
        )

    def checks(self, recipe):
        from ltbench_acme.checks import checks

        return checks() if SEVERAL in recipe.all_needs else {}


def of_labels(record):
    """The average precision of each label, which a record keeps."""
    return msgspec.convert(record.details, OfLabels).average_precision


def refuse_unmet(recipe):
    """Refuses what would be passed over in silence, or mistake labels [N, C] for classes [N]."""
    for method in recipe.methods:
        refused = NEVER if SEVERAL in method.needs else NEVER | ON_ONE_LABEL
        for hook in hooks(type(method)):
            if hook in refused:
                raise Unmet(f"{method.name} overrides {hook}, which serves one label a row")
        for need in sorted(method.needs - {SEVERAL}):
            raise Unmet(f"{method.name} needs {need}, which track labelsets does not supply")


def training_rows(protocol, digits, seed):
    classes = len(digits.classes)
    tail = protocol.factor ** (-torch.arange(classes) / (classes - 1))
    return pairs(digits.train[0::2], protocol.rows, tail, seed)


def test_rows(protocol, digits, seed):
    return pairs(digits.train[1::2], protocol.test_rows, torch.ones(len(digits.classes)), seed)


def pairs(digits, count, shares, seed):
    """Images of two digits side by side, each drawn by the share of its class."""
    chance = (shares / digits.labels.bincount())[digits.labels]
    rng = torch.Generator().manual_seed(seed)
    sides = torch.multinomial(chance, 2 * count, replacement=True, generator=rng).chunk(2)
    inputs = torch.cat([digits.inputs[side] for side in sides], dim=3)
    labels = sum(one_hot(digits.labels[side], len(shares)) for side in sides)
    return Rows(inputs, labels.clamp(max=1).float())


class Network(nn.Module):
    """A hidden layer, and a head with a score for each label."""

    def __init__(self, inputs, width, labels):
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU())
        self.head = nn.Linear(width, labels)

    def features(self, x):
        return self.hidden(x)


def begin(protocol, rows, seed, device):
    """A run at its start, with a fresh network."""
    counts = rows.labels.sum(dim=0)
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros((), device=device),
        phase=Phase("main", protocol.epochs, protocol.lr, protocol.weight_decay),
        seed=seed,
        device=device,
        granted=LabelGrants(rows=len(rows)),
    )
    run.rng = generator(run, "methods")
    with seeded(run, "network"):
        network = Network(rows.inputs[0].numel(), protocol.width, run.num_classes)
    run.model = network.to(device)
    return run


def plain_work(protocol, rows, seed, device):
    """The work of plain training, in units of which costs are told."""
    run = begin(protocol, rows, seed, device)
    with events.heard_by(None), Clock(device) as clock:
        train(LabelRecipe(Method()), rows, run, protocol.batch_size)
    return clock.work
