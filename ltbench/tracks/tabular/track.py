"""Tabular: fit learners to tables, with methods around them, in two stratified folds a seed."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import numpy as np
import torch
from msgspec import Meta, Struct, structs
from numpy.typing import NDArray
from torch import Tensor

from ltbench import models
from ltbench.contract.context import Grants, Phase, Rows, Run
from ltbench.contract.method import HOOKS, Method, hooks
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Divided, Finder, Outcome, Sheet, undivided
from ltbench.errors import Diverged, LTBenchError, Unmet
from ltbench.models import learners
from ltbench.results.records import Timing
from ltbench.scoring import metrics
from ltbench.scoring.thresholds import best_offsets
from ltbench.texts import line, readable
from ltbench.tracks import trials
from ltbench.tracks.dividing import asked
from ltbench.tracks.tabular.features import constant
from ltbench.tracks.tabular.folds import FOLDS, stratified
from ltbench.tracks.tabular.kept import Decided, arrays_of
from ltbench.tracks.tabular.parts import Part, Parts, ended, over_folds, summed, told
from ltbench.tracks.tabular.problem import Tabular
from ltbench.tracks.tabular.shared_fits import Fits, shared_fits
from ltbench.tracks.tabular.sources import known as shipped
from ltbench.training import events
from ltbench.training.engine import (
    answered,
    checked,
    generator,
    hidden_order,
    seeded,
    shares,
    stream_seed,
    train,
)
from ltbench.training.failures import failure
from ltbench.training.timing import Clock
from ltbench.validation import convert

if TYPE_CHECKING:
    from ltbench.tracks.tabular.tables import TableRows

NEVER = {"adapt"}
CALLED = {"resample", "sampling_weights", "prepare", "weight", "scores", "decide"}
ON_MODELS = {"build", "finish"}
SMALLEST = 1e-12  # of a probability, so that its logarithm is a number
LARGEST = 1e9  # of a standardised number, so that learners can reckon with it in float32
APART = 10.0  # at most, where a column was constant and its scale is not known
MOST_REPEATS = 1000  # of rows, on the average; more would fill the memory
CPU = torch.device("cpu")
NOTHING = Timing(
    seconds=0.0, work=0.0, reference_work=1.0, relative=0.0, passes=0.0, peak_memory_mb=0.0
)
T = TypeVar("T")


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of the learner mlp; it takes `steps`, or more to end with a whole epoch."""

    widths: tuple[Annotated[int, Meta(ge=1)], ...] = (64,)
    batch_norm: bool = True
    steps: Annotated[int, Meta(ge=1)] = 200
    batch_size: Annotated[int, Meta(ge=2)] = 64
    lr: Annotated[float, Meta(gt=0)] = 0.05
    weight_decay: Annotated[float, Meta(ge=0)] = 1e-3
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.1


@dataclass(frozen=True)
class Fold:
    """Rows to fit and rows to score, as a learner takes them; the second never reach a method.

    They are of so many `classes`. `inner` are the folds into which the rows to fit are cut again,
    to set thresholds. `positive` is the rarer of two classes in the whole table.
    """

    train: Rows
    test: Rows
    classes: int
    inner: "tuple[Fold, ...]" = ()
    positive: int | None = None


@dataclass(frozen=True)
class About:
    """What a process may know of a whole table."""

    classes: int
    ordered: bool
    fingerprint: str


@dataclass(frozen=True)
class Given:
    """What the process of one fold may see: the rows to fit, with the inner folds of these, and
    what is told of the table. `seed` is the fold's own, `index` says which it is."""

    fold: Fold
    index: int
    seed: int
    about: About


class OnTables(Recipe):
    """A recipe on the rows of a table: between two categories there is nothing, so the nearer one
    is taken.
    """

    def resample(self, train: Rows, run: Run) -> Rows:
        rows = super().resample(train, run)
        if rows is train or rows.inputs.shape[1:] != train.inputs.shape[1:]:
            return rows
        inputs = rows.inputs
        for span in train.categorical:
            largest = inputs[:, span].argmax(dim=1, keepdim=True)
            inputs = inputs.clone()
            inputs[:, span] = torch.zeros_like(inputs[:, span]).scatter_(1, largest, 1.0)
        return replace(rows, inputs=inputs)


@dataclass
class Fitted:
    """A model with the run it came of, and what it says of inputs [N, D] in the order given."""

    run: Run
    recipe: Recipe
    answer: Callable[[Tensor], tuple[Tensor, Tensor]] = field(repr=False)

    def predict(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N, C] and decided labels [N]; the model sees the rows in a hidden order."""
        order = hidden_order(inputs, self.run.seed)
        place = order.argsort()
        scores, decided = self.answer(inputs[order])
        return scores[place], decided[place]


def load(registry: Finder, protocol: Tabular) -> "dict[str, TableRows | LTBenchError]":
    """Every table of the protocol, or why it cannot be had."""
    from ltbench.tracks.tabular.tables import load as read

    known: dict[str, Path | Callable[[], Any]] = {}
    for name in registry.datasets_of_plugins():
        if name not in shipped():
            known[name] = registry.dataset(name)
    known |= {name: Path(path) for name, path in registry.data.items()}
    sources: dict[str, TableRows | LTBenchError] = {}
    for name, data in protocol.tables.items():
        try:
            sources[name] = read(name, data, known)
        except LTBenchError as error:
            sources[name] = error
    return sources


def plan(
    protocol: Tabular, sources: "Mapping[str, TableRows | LTBenchError]", device: torch.device
) -> None:
    """Makes sure that cells can begin.

    Raises:
        LTBenchError: a learner is unknown or not installed, or no table is there.
    """
    if device.type != "cpu":
        raise LTBenchError(f"{protocol.name} is of the track tabular, which runs on the cpu alone")
    learners.check(protocol.learners)
    if learners.NETWORK in protocol.learners:
        convert("learner mlp", protocol.learners[learners.NETWORK], Network)
    errors = [source for source in sources.values() if isinstance(source, LTBenchError)]
    if len(errors) == len(sources):
        raise errors[0]


def seconds(protocol: Tabular, table: "TableRows", device: torch.device) -> float:
    """About what a cell of plain learners takes: one fold, measured, in place of all."""
    fold = cut(table, 0, protocol.scoring.folds)[0]
    taken = 0.0
    for name in protocol.learners:
        warm_up(protocol, name, fold)
        with Clock(device) as clock:
            fit(protocol, Recipe(Method()), name, fold.train, fold, 0)
        taken += clock.seconds
    return taken * FOLDS * (2 + protocol.scoring.folds)


def divide(
    protocol: Tabular, seed: int, table: "TableRows", needs: Set[str] = frozenset()
) -> Divided:
    """The folds of a cell: rows to fit, inputs to be asked, and labels to mark with.

    Rows to score in one fold are rows to fit in another.
    """
    share = protocol.trial_share
    folds = cut(table, seed, protocol.scoring.folds, share)
    own = [FOLDS * seed + k for k in range(FOLDS)]
    papers = [cache(partial(asked, fold.test, own[k])) for k, fold in enumerate(folds)]
    about = About(len(table.classes), table.ordered, table.fingerprint)

    def sheet(k: int) -> Sheet:
        fold = replace(folds[k], test=folds[k].test[torch.arange(0)])
        return Sheet(Given(fold, k, own[k], about), lambda: papers[k]()[0])

    def mark(*answers: Answer) -> Outcome:
        every = [of_fold(protocol, *one) for one in zip(answers, folds, papers, strict=True)]
        parts = {name: over_folds([of[name] for of, _ in every]) for name in protocol.learners}
        fine = [name for name, part in parts.items() if part.status == "ok"]
        decided = [[of[name] for _, of in every] for name in fine]
        counts = np.bincount(table.labels, minlength=len(table.classes))
        status, reason = ended(parts)
        return Outcome(
            **told(parts),
            class_counts=counts.tolist(),
            arrays=None if share else arrays_of(table.labels, table.positive, seed, decided),
            notes=list(table.notes),
            details=Parts(parts),
            status=status,
            reason=reason,
            stage=",".join(filter(None, (answer.stage for answer in answers))),
        )

    first, *further = map(sheet, range(FOLDS))
    networks = len(protocol.learners)
    return Divided(first.given, first.ask, mark, about.classes, networks, tuple(further))


def of_fold(
    protocol: Tabular, answer: Answer, fold: Fold, paper: Callable[[], tuple[Asked, Tensor]]
) -> tuple[dict[str, Part], dict[str, Decided]]:
    """The part of each learner in a fold, and what was decided.

    Raises:
        LTBenchError: it is no answer.
    """
    labels, place = fold.test.labels.numpy(), paper()[1]
    tuned = answer.arrays["tuned"]
    if tuned.shape != answer.predicted.shape or (tuned < 0).any() or (tuned >= fold.classes).any():
        raise LTBenchError("labels at tuned thresholds are not those of its rows and classes")
    parts = msgspec.json.decode(str(answer.told["parts"]), type=dict[str, Part])
    decided: dict[str, Decided] = {}
    for k, name in enumerate(protocol.learners):
        if parts[name].status != "ok":
            continue
        probabilities = answer.scores[k].softmax(dim=1)[place].numpy()
        found = answer.predicted[k][place].numpy(), tuned[k][place.numpy()]
        decided[name] = Decided(*found, probabilities)
        values = metrics.scored_decisions(labels, *found, probabilities, fold.positive)
        parts[name] = structs.replace(parts[name], metrics=values, folds=[values])
    return parts, decided


def answer(
    protocol: Tabular,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Fits every learner to the rows of a fold, then says what the rows to score are.

    A learner that fails or cannot take the recipe costs its own part only.
    """
    number, learned = len(protocol.learners), []
    turns = [Turn(protocol, recipe, given, name) for name in protocol.learners]
    for k, turn in enumerate(turns):
        with events.part(given.index * number + k, FOLDS * number), events.heard_by(None):
            learned.append(_or_failed(recipe, turn.begin))
    inputs = ask().inputs
    scores = torch.zeros(number, len(inputs), given.fold.classes, dtype=torch.float64)
    predicted = torch.zeros(number, len(inputs), dtype=torch.long)
    tuned = np.zeros(predicted.shape, dtype=np.int64)
    parts, stages = {}, list[str]()
    for k, (turn, failed) in enumerate(zip(turns, learned, strict=True)):
        said = _or_failed(recipe, partial(turn.say, inputs)) if failed is None else failed
        if isinstance(said, Part):
            parts[turn.name] = said
            continue
        parts[turn.name], scores[k], predicted[k], tuned[k] = said
        stages += turn.stage
    timings = [part.timing for part in parts.values() if part.timing is not None]
    return Answer(
        scores=scores,
        predicted=predicted,
        timing=summed(timings) or NOTHING,
        stage=",".join(stages),
        told={"parts": msgspec.json.encode(parts).decode()},
        arrays={"tuned": tuned},
    )


def _or_failed(recipe: Recipe, work: Callable[[], T]) -> T | Part:
    """What `work` returns, or the part of a learner that failed."""
    try:
        return work()
    # A stranger's method may raise anything at all; that must cost its own part only.
    except (Exception, SystemExit) as error:
        status, reason = failure(error, recipe)
        return Part(status=status, reason=readable(reason))


@dataclass
class Turn:
    """A learner in a fold: it learns, and then says what the rows to score are."""

    protocol: Tabular
    recipe: Recipe
    given: Given
    name: str

    def begin(self) -> None:
        """Learns, if it can take the recipe.

        Raises:
            Unmet: it cannot.
        """
        refuse_unmet(self.recipe, self.name, self.given.about)
        self.learn()

    def learn(self) -> None:
        """Fits it, and plain ones beside it for its cost; sets thresholds."""
        protocol, name, fold, seed = self.protocol, self.name, self.given.fold, self.given.seed
        with ExitStack() as stack:
            told = protocol, self.recipe, seed, self.given.about.fingerprint, name
            fits = stack.enter_context(shared_fits(*told, self._takes))
            self.fits = fits
            reference, self.peak = (0.0, 0.0) if fits is None else fits.folds.get(seed, (0.0, 0.0))
            if not reference:
                warm_up(protocol, name, fold)
                with Clock(CPU) as plain:
                    fit(protocol, Recipe(Method()), name, fold.train, fold, seed)
                reference = plain.work
            self.reference = reference
            held_out = cache(lambda: _held_out(protocol, self.recipe, name, fold, seed, fits))
            own = copy.deepcopy(self.recipe)
            with Clock(CPU) as self.clock:
                self.fitted = fit(protocol, own, name, fold.train, fold, seed, held_out, fits)
            held, labels = held_out()
            self.offsets = best_offsets(held.numpy(), labels.numpy(), "f1", fold.positive)
            self.held = stack.pop_all()

    def say(self, inputs: Tensor) -> tuple[Part, Tensor, Tensor, NDArray[np.int64]]:
        """Of inputs [N, D], in the order given: scores [N, C], and labels [N] decided and at tuned
        thresholds; before them its part, without measures."""
        with self.held:
            scores, predicted = self.fitted.answer(inputs)
            scores = scores.double()
            peak = max(self.peak, self.clock.peak_memory_mb)
            if self.fits is not None:
                self.fits.folds[self.given.seed] = (self.reference, peak)
            timing = Timing(
                seconds=self.clock.seconds,
                work=self.clock.work,
                reference_work=self.reference,
                relative=self.clock.work / self.reference,
                passes=self.fitted.run.passes / len(self.given.fold.train),
                peak_memory_mb=peak,
            )
            notes = [line(note) for note in self.fitted.run.notes]
            part = Part(status="ok", notes=notes, timing=timing)
            return part, scores, predicted, (scores.numpy() + self.offsets).argmax(axis=1)

    @property
    def stage(self) -> list[str]:
        """Which fits of another cell it took, if any."""
        return [self.fits.key] if self.fits is not None and self.fits.found else []

    def _takes(self) -> float:
        """About how many seconds plain learners take in the fold."""
        fold = self.given.fold
        with Clock(CPU) as clock:
            fit(self.protocol, Recipe(Method()), self.name, fold.train, fold, 0)
        return clock.seconds * (2 + self.protocol.scoring.folds)


def refuse_unmet(recipe: Recipe, learner: str, about: About) -> None:
    """Refuses, by name, what the track or the learner would pass over in silence.

    Raises:
        Unmet: a hook is never called, or a need is not met.
    """
    supplied = {"two_classes"} if about.classes == 2 else set()
    supplied |= {"ordered"} if about.ordered else set()
    model = "network" if learner == learners.NETWORK else "estimator"
    called = CALLED | ON_MODELS if model == "estimator" else HOOKS.keys() - NEVER
    for method in recipe.methods:
        for need in sorted(method.needs - supplied):
            raise Unmet(f"{method.name} needs {need}, which this table does not supply")
        for hook in hooks(type(method)):
            if hook not in called:
                raise Unmet(
                    f"{method.name} overrides {hook}, which is never called around {model}s"
                )
            if hook in ON_MODELS and model not in method.models:
                raise Unmet(f"the {hook} of {method.name} is not for {model}s")


def _held_out(
    protocol: Tabular, recipe: Recipe, name: str, fold: Fold, seed: int, fits: Fits | None = None
) -> tuple[Tensor, Tensor]:
    """The scores of the rows to fit, each by a model of the other inner folds, and their labels."""
    scores, labels = [], []
    for inner in fold.inner:
        own = copy.deepcopy(recipe)
        fitted = fit(protocol, own, name, inner.train, inner, seed, fits=fits)
        scores.append(fitted.predict(inner.test.inputs)[0].double())
        labels.append(inner.test.labels)
    return torch.cat(scores), torch.cat(labels)


def warm_up(protocol: Tabular, learner: str, fold: Fold) -> None:
    """Fits a learner to two rows a class, so that nobody pays for what happens once a process."""
    labels = fold.train.labels
    few = torch.cat([(labels == c).nonzero()[:2, 0] for c in labels.unique()])
    fit(protocol, Recipe(Method()), learner, fold.train[few], fold, seed=0)


def fit(
    protocol: Tabular,
    recipe: Recipe,
    learner: str,
    rows: Rows,
    fold: Fold,
    seed: int,
    held_out: Callable[[], tuple[Tensor, Tensor]] | None = None,
    fits: Fits | None = None,
) -> Fitted:
    """The learner fitted to rows, with a recipe around it; the fit itself may be one of `fits`.

    Raises:
        LTBenchError: the recipe leaves a class without rows, or asks of the learner what it cannot.
    """
    counts = rows.labels.bincount(minlength=fold.classes).to(torch.float32)
    run = Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", epochs=1, lr=0.0, weight_decay=0.0),
        seed=seed,
        granted=Grants(cross_fitted=held_out, positive=fold.positive),
    )
    run.rng = generator(run, "methods")
    recipe = OnTables(*recipe.methods)
    parameters = protocol.learners[learner]
    if learner == learners.NETWORK:
        return _fit_network(convert("learner mlp", parameters, Network), recipe, rows, run, fits)
    estimator = learners.build(learner, parameters, stream_seed(seed, "learner") % 2**31)
    return _fit_estimator(estimator, recipe, rows, run, fits)


def _fit_estimator(
    estimator: Any, recipe: Recipe, rows: Rows, run: Run, fits: Fits | None
) -> Fitted:
    if (run.exact_counts < 1).any():
        c = int((run.exact_counts < 1).nonzero()[0])
        raise LTBenchError(f"class {c} has no training rows")
    run.train = rows
    resampled = drawn(recipe, checked(recipe.resample(rows, run), rows, run), run)
    run.progress.fill_(1)
    run.seen = shares(resampled.labels, None, run.counts)
    run.train, run.passes = resampled, len(resampled)
    recipe.prepare(run)
    model: Any = recipe.build(estimator, run)
    weight = recipe.weight(resampled.labels, run)
    given = {}
    if weight is not None:
        if "sample_weight" not in inspect.signature(model.fit).parameters:
            raise Unmet(f"{type(model).__name__} weighs no rows, which {recipe.text} asks of it")
        given["sample_weight"] = (weight / weight.mean()).numpy()
    if fits is None:
        model.fit(resampled.inputs.numpy(), resampled.labels.numpy(), **given)
        ask = None
    else:
        name, model = fits.fitted(model, resampled, run.seed)
        ask = partial(fits.probabilities, name, model)
    run.model, plain = model, model
    run.model = model = recipe.finish(model, None, run)
    if ask is None or model is not plain:
        ask = model.predict_proba

    def answer(inputs: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = torch.from_numpy(np.asarray(ask(inputs.numpy())))
        if not torch.isfinite(probabilities).all():
            raise Diverged("the fitted model gives probabilities that are not finite")
        scores = recipe.scores(probabilities.double().clamp(min=SMALLEST).log(), run)
        return scores, recipe.decide(scores, run)

    return Fitted(run, recipe, answer)


def drawn(recipe: Recipe, rows: Rows, run: Run) -> Rows:
    """Rows repeated in proportion to their sampling weights: the least likely once, and those of
    weight 0 never.

    Raises:
        LTBenchError: weights are no weights, leave a class without rows, or repeat rows too often.
    """
    weights = recipe.sampling_weights(rows.labels, run)
    if weights is None:
        return rows
    if not (torch.isfinite(weights).all() and (weights >= 0).all()):
        raise LTBenchError("sampling weights are negative or not finite")
    kept = rows.labels[weights > 0].bincount(minlength=run.num_classes)
    for c in ((kept == 0) & (run.exact_counts > 0)).nonzero()[:1, 0].tolist():
        raise LTBenchError(f"sampling weights leave class {c} without rows")
    times = weights / weights[weights > 0].min()
    if times.mean() > MOST_REPEATS:
        raise LTBenchError(
            f"sampling weights would have each row fitted {times.mean():,.0f} times; around "
            "estimators a row is repeated as often as its weight is that of the least likely"
        )
    chance = torch.rand(len(times), generator=run.rng, dtype=times.dtype)
    repeats = (times + chance).floor().long()  # a part of a time by chance
    return rows[torch.arange(len(rows)).repeat_interleave(repeats * (weights > 0))]


def _fit_network(
    network: Network, recipe: Recipe, rows: Rows, run: Run, fits: Fits | None
) -> Fitted:
    batch_size = min(network.batch_size, len(rows))
    epochs = -(-network.steps // max(1, len(rows) // batch_size))
    run.phase = Phase(
        "main",
        epochs=epochs,
        lr=network.lr,
        weight_decay=network.weight_decay,
        warmup=network.warmup,
    )
    options = {"widths": list(network.widths), "batch_norm": network.batch_norm}
    with seeded(run, "network"):
        run.model = models.build("mlp", tuple(rows.inputs.shape[1:]), run.num_classes, options)
    begun, ended = None, None
    if fits is not None:
        begun, ended = fits.begun(options, recipe, rows, run, batch_size)
    model = train(recipe, rows, run, batch_size, resume=begun, ended=ended)
    run.passes //= epochs

    def answer(inputs: Tensor) -> tuple[Tensor, Tensor]:
        return answered(recipe, model, inputs, torch.arange(len(inputs)), run)

    return Fitted(run, recipe, answer)


def cut(table: "TableRows", seed: int, inner: int, share: float = 0.0) -> list[Fold]:
    """The folds of a seed, each with the inner ones of the rows it fits.

    With a `share`, those of trials: that much of the rows to fit is scored in place of the rest.

    Raises:
        LTBenchError: the share is none of any class.
    """
    place = stratified(table.labels, FOLDS, seed)
    folds = []
    for k in range(FOLDS):
        kept, scored = np.flatnonzero(place != k), np.flatnonzero(place == k)
        own = FOLDS * seed + k
        if share:
            left, aside = trials.cut(table.labels[kept], share, own)
            kept, scored = kept[left], kept[aside]
        within = stratified(table.labels[kept], inner, own)
        inside = (_encoded(table, kept[within != j], kept[within == j]) for j in range(inner))
        fold = _encoded(table, kept, scored)
        folds.append(replace(fold, inner=tuple(one for one in inside if len(one.test))))
    return folds


def _encoded(table: "TableRows", train: NDArray[np.int64], test: NDArray[np.int64]) -> Fold:
    """Rows as the inputs [N, D] of a learner, by what the rows to fit alone tell.

    Numbers are standardised, missing ones are the median; each category that was seen has a column.
    A column that is constant but for rounding is only moved, so that rows to score may stand apart.
    """
    known = table.numbers[train]
    there = known[:, ~np.isnan(known).all(axis=0)]
    medians = np.nan_to_num(np.nanmedian(there, axis=0)) if len(there.T) else np.empty(0)
    columns = np.flatnonzero(~np.isnan(known).all(axis=0))
    filled = np.where(np.isnan(there), medians, there)
    mean, std = filled.mean(axis=0), filled.std(axis=0)
    fixed = (std == 0) | constant(filled)
    std, most = np.where(fixed, 1.0, std), np.where(fixed, APART, LARGEST)
    seen = [np.unique(column) for column in table.codes[train].T]

    def rows(index: NDArray[np.int64]) -> Rows:
        numbers = table.numbers[index][:, columns]
        filled = (np.where(np.isnan(numbers), medians, numbers) - mean) / std
        parts = [filled.clip(-most, most)]
        for values, codes in zip(seen, table.codes[index].T, strict=True):
            parts.append(codes[:, None] == values)
        inputs = np.concatenate(parts, axis=1, dtype=np.float32)
        labels = torch.from_numpy(table.labels[index])
        return Rows(torch.from_numpy(inputs), labels, categorical=categorical)

    categorical = tuple(_spans(len(columns), [len(values) for values in seen]))
    return Fold(rows(train), rows(test), len(table.classes), positive=table.positive)


def _spans(start: int, widths: list[int]) -> Iterator[slice]:
    for width in widths:
        yield slice(start, start + width)
        start += width


run = undivided(divide, answer)
