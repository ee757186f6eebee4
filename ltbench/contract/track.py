"""Track: what a kind of problem declares; the benchmark asks nothing else of it."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args
from typing import Protocol as Shape

import msgspec
import numpy as np
import torch
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray
from torch import Tensor

from ltbench import validation
from ltbench.contract.method import HOOKS, NAME, Method, declared
from ltbench.contract.parts import NETWORKS, Metric
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.rendering.figures import Figure
from ltbench.rendering.overview import Overview
from ltbench.results.record_arrays import COSTS
from ltbench.results.records import Record, Scores, Status, Timing
from ltbench.scoring.measures import FIRST, SECOND, Measure, stored
from ltbench.texts import line

if TYPE_CHECKING:
    import pandas

P = TypeVar("P", bound=Protocol)
Arrays = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
Check = Callable[[Recipe], None]


Followed = Mapping[str, tuple[float, float] | None]
"""What follows of measures from a record's arrays: the least and the most that each can be, None
for one that cannot be told of these rows. The recall of class 2 is called "recall 2"."""


def around(value: float | None, slack: float) -> tuple[float, float] | None:
    """What a measure can be, that was made again and may be off by `slack`."""
    return None if value is None else (value - slack, value + slack)


class Finder(Shape):
    """What `load` may ask for data: a registry."""

    data: dict[str, str | Path]

    def dataset(self, name: str) -> Callable[..., Any]: ...
    def datasets_of_plugins(self) -> list[str]: ...


@dataclass(frozen=True)
class Board:
    """What records of one protocol became: a struct that JSON takes, and how else it is written.

    `overview` tells of the records that it was made of what boards of all kinds have in common;
    without it a board has no page and no figures.
    """

    content: Struct
    markdown: Callable[[], str]
    frame: Callable[[], "pandas.DataFrame"]
    overview: Callable[[Sequence[Record]], Overview] | None = None


class Table(Struct, frozen=True):
    """A table of a track's own on its boards, with what its legend says before and after.

    Fields of the protocol can be put into both, as in "{0.networks} networks".
    """

    name: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a cell yields.

    `measures` are numbers by the names that the track declares, None where there is none; `recall`
    and `class_counts` [C] are there where there are classes, `transductive` where a method used
    unlabelled test inputs. `arrays` are kept beside the record, `details`, a struct, within.
    `control` says that the cell stands outside of what is ranked, `stage` from which shared first
    stage its training went on.
    """

    measures: Scores
    timing: Timing | None = None
    recall: list[float | None] = field(default_factory=list)
    class_counts: list[int] = field(default_factory=list)
    transductive: Scores | None = None
    arrays: Arrays | None = None
    notes: list[str] = field(default_factory=list)
    details: Struct | None = None
    control: bool = False
    continued: int = 0
    stage: str = ""
    status: Status = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """What a cell is asked once it is trained: the inputs [N, ...] of its test rows, in an order
    that tells nothing, another such order `shuffled` [N], and `groups` [N] where they are told."""

    inputs: Tensor
    shuffled: Tensor
    groups: Tensor | None = None


@dataclass(frozen=True)
class Answer:
    """What a cell says of the rows that it was asked: scores [N, C] and decided labels [N].

    Of several networks both have one dimension more, in front. `adapted` are both once more, after
    a method used the inputs. `timing` is what it cost, `notes` are the run's, `continued` and
    `stage` tell what it went on from, as in an outcome. `told` and `arrays` are what else the track
    is to know of what was made, as numbers, texts and arrays.
    """

    scores: Tensor
    predicted: Tensor
    timing: Timing
    adapted: tuple[Tensor, Tensor] | None = None
    notes: list[str] = field(default_factory=list)
    continued: int = 0
    stage: str = ""
    told: dict[str, float | str] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Divided:
    """The data of a cell: what is `given` to train on, what it is asked, and how that is marked.

    Neither `given` nor what `ask` returns holds a label of a test row; `mark` alone knows them.
    An answer has scores of so many `classes`, and of so many `networks` where there are several.
    Where rows that one part of a cell is trained on are test rows of another, `further` are what
    the other parts are given and asked, each in a process of its own; `mark` takes all answers.
    """

    given: Any
    ask: Callable[[], Asked]
    mark: Callable[..., Outcome]
    classes: int
    networks: int | None = None
    further: "tuple[Sheet, ...]" = ()

    @property
    def sheets(self) -> "tuple[Sheet, ...]":
        return (Sheet(self.given, self.ask), *self.further)


@dataclass(frozen=True)
class Sheet:
    """What one process of a cell is `given`, and what it is asked."""

    given: Any
    ask: Callable[[], Asked]


Divide = Callable[[P, int, Any, frozenset[str]], Divided | None]
Answers = Callable[[P, Recipe, int, Any, Callable[[], Asked], torch.device], Answer]
Undivided = Callable[[P, Recipe, int, Any, torch.device], Outcome]


def undivided(divide: Divide[P], answer: Answers[P]) -> Undivided[P]:
    """What runs a cell in one process, of what divides its data and what answers on a sheet."""

    def run(protocol: P, recipe: Recipe, seed: int, source: Any, device: torch.device) -> Outcome:
        divided = divide(protocol, seed, source, recipe.all_needs)
        if divided is None:
            raise NotImplementedError
        answers = (
            answer(protocol, recipe, seed, sheet.given, sheet.ask, device)
            for sheet in divided.sheets
        )
        return divided.mark(*answers)

    return run


@dataclass(frozen=True)
class Proposal:
    """A protocol for data of a user's own: what was seen in them, and the text of its file."""

    seen: dict[str, Any]
    text: str


@dataclass(frozen=True)
class Grid:
    """The measures of a board's cells, each [recipes, seeds]; NaN where there is none.

    `elsewhere` gives a measure of the records of another protocol, by recipe and seed.
    """

    values: Mapping[str, Floats]
    recipes: Sequence[str]
    seeds: Sequence[int]
    elsewhere: Callable[[str, str], Mapping[tuple[str, int], float | None]]

    def among(self, told: Mapping[tuple[str, int], float | None], recipe: str) -> Floats:
        """The numbers of one recipe [seeds] among those told by recipe and seed."""
        if not told:  # of very many seeds each would be looked up
            return np.full(len(self.seeds), np.nan)
        found = (told.get((recipe, seed)) for seed in self.seeds)
        return np.array([np.nan if value is None else value for value in found])

    def row(self, name: str, recipe: str) -> Floats:
        """A measure of one recipe [seeds]; NaN where it is not there."""
        if recipe not in self.recipes:
            return np.full(len(self.seeds), np.nan)
        found: Floats = self.values[name][list(self.recipes).index(recipe)]
        return found


class Track(Generic[P]):
    """A kind of problem; a subclass declares it, and an instance comes in by `register_tracks`.

    `problem` is the schema of its protocol files, tagged with the track's name. `hooks` is
    `Method`, or a subclass of it that adds the hooks which this track calls. `needs` are
    what it supplies to methods that ask. `floor` are the recipes without which no board of it
    stands, `reference` the one that others are set against. `measures` are what cells yield and
    what boards derive, `brought` those of them that plugins add by `bring`, and `tables` those of a
    board beside the two that all have. `doing` names what a cost is the cost of, `unit` what else
    than plain training is its unit; `loss` is the measure, if one is, of what imbalance costs, of
    which contrasts tell how much was recovered.
    `made_in` is the module that runs its cells, where that is another than the class's own, and
    `sheets` in how many parts `divide` divides a cell.
    `scaffolds` is a folder of what `ltbench new` begins from where the common files do not serve,
    `example` a protocol of the track that takes seconds.
    `tunes` says that it runs protocols of trials, whose `trial_share` is above 0; `plain` is the
    recipe whose tuning is the floor of tuned boards. `shared` is the share of the variance of one
    seed which more seeds of one table do not lessen (`scoring.statistics.interval`).
    """

    name: ClassVar[str] = ""
    problem: type[P]
    hooks: ClassVar[type[Method]] = Method
    needs: ClassVar[frozenset[str]] = frozenset()
    floor: ClassVar[tuple[str, ...]] = ()
    reference: ClassVar[str] = "erm"
    measures: ClassVar[tuple[Measure, ...]] = ()
    brought: ClassVar[Mapping[str, tuple[Metric, str]]] = {}
    tables: ClassVar[tuple[Table, ...]] = ()
    doing: ClassVar[str] = "preparation and training"
    unit: ClassVar[str] = "plain training"
    loss: ClassVar[str] = ""
    made_in: ClassVar[str] = ""
    sheets: ClassVar[int] = 1
    scaffolds: ClassVar[Path | None] = None
    example: ClassVar[str] = ""
    tunes: ClassVar[bool] = False
    plain: ClassVar[str] = "plain"
    shared: ClassVar[float] = 0.0

    def propose(self, name: str, path: Path, target: str | None = None) -> Proposal | None:
        """A protocol `name` that fits a user's data, which it calls so; None for data of other
        kinds than the track's. `target` is the column of classes, where one is named.

        Raises:
            LTBenchError: the data cannot be read, or nothing can be asked of them.
        """
        return None

    def load(self, registry: Finder, protocol: P) -> Mapping[str, Any]:
        """The data of a protocol by table, or the error for which they cannot be had.

        The table is "" where there is one; each has a `fingerprint`.

        Raises:
            LTBenchError: none can be had.
        """
        raise NotImplementedError

    def plan(self, protocol: P, sources: Mapping[str, Any], device: torch.device) -> None:
        """Makes sure that cells can begin.

        A GPU must be left alone here: a process that has used it cannot be forked for each cell.

        Raises:
            LTBenchError: the protocol does not fit its data, or the device.
        """

    def seconds(self, protocol: P, source: Any, device: torch.device, /) -> float:
        """About what a plain cell takes here, measured for a moment."""
        raise NotImplementedError

    def divide(
        self, protocol: P, seed: int, source: Any, needs: frozenset[str], /
    ) -> Divided | None:
        """The data of a cell in parts, so that a method never shares a process with test labels.

        `needs` are those of the recipe. None says that the track's cells are run whole: its own
        `run` then does what `divide`, `answer` and the marking of the answer do elsewhere.

        Raises:
            LTBenchError: the protocol does not fit the data.
        """
        return None

    def answer(
        self,
        protocol: P,
        recipe: Recipe,
        seed: int,
        given: Any,
        ask: Callable[[], Asked],
        device: torch.device,
    ) -> Answer:
        """Trains on what was given, then asks and answers; raises what `run` does."""
        raise NotImplementedError

    def run(
        self, protocol: P, recipe: Recipe, seed: int, source: Any, device: torch.device
    ) -> Outcome:
        """One cell, in this process. Nothing of the test split reaches a method.

        Raises:
            Unmet: the recipe needs what the protocol does not supply, or does nothing here.
            LTBenchError: the cell fails, with this reason.
        """
        return undivided(self.divide, self.answer)(protocol, recipe, seed, source, device)

    def modules(self, protocol: P) -> tuple[str, ...]:
        """The modules that, with what they import, decide the numbers of a protocol's cells."""
        network = getattr(protocol, "network", {}).get("name")
        own = [self.made_in or type(self).__module__]
        if network is not None:
            own += NETWORKS.modules((network,)) or (f"ltbench.models.{network}",)
        asked = self.shown(protocol)
        return (*own, *(module for name, (_, module) in self.brought.items() if name in asked))

    def bring(self, measure: Measure, metric: Metric, module: str) -> None:
        """Adds a measure of decided labels, which a protocol may ask for; `module` computes it.

        Raises:
            LTBenchError: it cannot be one of this track's.
        """
        if type(self).compare is not Track.compare:
            raise LTBenchError(f"track {self.name} makes its boards itself, and takes no metrics")
        if not isinstance(measure, Measure) or not callable(metric):
            raise LTBenchError("a metric is a ltbench.Measure and a function")
        if measure.name in [one.name for one in self.measures]:
            raise LTBenchError(f"track {self.name} has a measure {measure.name!r} already")
        before = self.measures
        vars(self)["measures"] = (*before, measure)
        reason = _refused_measures(self)
        if reason is not None:
            vars(self)["measures"] = before
            raise LTBenchError(reason)
        vars(self)["brought"] = {**self.brought, measure.name: (metric, module)}

    def further(self, protocol: P, record: Record, arrays: Arrays, classes: int) -> Scores:
        """What a protocol asks for of what plugins brought, the mean over networks.

        Raises:
            LTBenchError: a metric failed.
        """
        asked = [name for name in self.shown(protocol) if name in self.brought]
        decided = self.decided(record, arrays) if asked else None
        if decided is None:
            return dict.fromkeys(asked)
        labels, predicted = decided
        return {name: self._mean_of(name, labels, predicted, classes) for name in asked}

    def _mean_of(
        self, name: str, labels: NDArray[Any], predicted: NDArray[Any], classes: int
    ) -> float | None:
        metric, module = self.brought[name]
        try:
            found = [metric(labels.copy(), one.copy(), classes) for one in predicted]
            return None if None in found else float(np.mean([float(one or 0.0) for one in found]))
        # A stranger's function may raise anything at all.
        except Exception as error:
            told = line(error) or "no message"
            raise LTBenchError(
                f"metric {name} of {module} failed: {type(error).__name__}: {told}"
            ) from error

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        """What a recipe must pass that is this track's to check; nothing for any other."""
        return {}

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        """Further checks of a recipe that this track checks, which run whole cells."""
        return {}

    def derived(self, protocol: P, grid: Grid) -> Mapping[str, Floats]:
        """The measures that are not stored, each [recipes, seeds], of those that are."""
        return {}

    def step(self, protocol: P, measure: str, classes: int) -> float | None:
        """By how much one prediction moves a measure at most, of so many classes, if that is known.

        Where seeds spread less than that, their spread tells nothing.
        """
        return None

    def compare(self, protocol: P, records: Sequence[Record]) -> Board | None:
        """A board of the track's own, where the generic one does not serve."""
        return None

    def unlike(self, protocol: P, other: Protocol) -> str | None:
        """Why records of another protocol say nothing beside those of this one, or None.

        It is asked of each protocol that `derived` looks for `elsewhere`.
        """
        return None

    def refused(self, record: Record) -> str | None:
        """Why the details of a record are none that this track keeps, or None."""
        return None

    def judged(self, protocol: P, record: Record) -> list[float | None]:
        """What a trial came to on its validation rows, in each part of a cell for which a setting
        is chosen apart, as its rows are tested by another."""
        return [record.measures.get(self.shown(protocol)[0])]

    def joined(self, records: Sequence[Record]) -> Record:
        """The cell of the settings that were chosen for its parts, of a record of each."""
        return records[0]

    def units(self, record: Record) -> float | None:
        """How long a cell took in all, in units of plain training."""
        return None if record.timing is None else record.timing.relative

    def figures(self, overview: Overview) -> Sequence[Figure]:
        """What is drawn of a board beside what all have."""
        return ()

    def picture(
        self, protocol: P, record: Record, arrays: Arrays, sources: Mapping[str, Any]
    ) -> Any:
        """A picture, of Pillow's kind, of what a cell made; None where there is nothing to see."""
        return None

    def decided(self, record: Record, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """The labels [N] of test rows and those that each network gave them [networks, N].

        None where the arrays of a record do not hold one label a row.
        """
        labels, predicted = (arrays.get(name) for name in ("labels", "predicted"))
        if labels is None or predicted is None or labels.ndim != 1:
            return None
        return labels, np.atleast_2d(predicted)

    def measured(self, protocol: P, record: Record, arrays: Arrays) -> Followed:
        """The measures that follow from what a record keeps; none where nothing is told of them."""
        return {}

    def carried(self, old: Mapping[str, Any], protocol: P | None) -> dict[str, Any] | None:
        """What a record of the earlier form held as fields of this one; None if it is not ours."""
        return None

    def shown(self, protocol: P) -> list[str]:
        """The measures that a protocol asks for, the one that ranks first."""
        scoring = getattr(protocol, "scoring", None)
        asked = list(getattr(scoring, "metrics", ()))
        return asked or [measure.name for measure in self.measures]

    def measure(self, name: str) -> Measure:
        return next(measure for measure in self.measures if measure.name == name)

    def read(self, owner: str, content: dict[str, Any]) -> P:
        """The protocol that the content of a file states.

        Raises:
            LTBenchError: an unknown key, a wrong type, a value out of range, an unknown measure.
        """
        protocol = validation.convert(owner, content, self.problem)
        known = [measure.name for measure in self.measures if measure.stored]
        for name in self.shown(protocol):
            if name not in [measure.name for measure in self.measures]:
                raise LTBenchError(
                    f"{owner}: unknown metric {name!r}; known: {', '.join(known)} - at scoring"
                )
        return protocol

    def refuse(self, outcome: Outcome) -> None:
        """Refuses an outcome that is not what the track declares.

        Raises:
            LTBenchError: no outcome, a measure that is not declared or no finite number, a cost
                below nothing, or an array of objects.
        """
        if not isinstance(outcome, Outcome):
            kind = type(outcome).__name__
            raise LTBenchError(f"track {self.name} gave an object of {kind}, no ltbench.Outcome")
        for name, cost in ({} if outcome.timing is None else asdict(outcome.timing)).items():
            if not 0 <= cost < math.inf:
                raise LTBenchError(f"track {self.name} gave {cost:g} as the {name} of a cost")
        for name, array in (outcome.arrays or {}).items():
            if not isinstance(array, np.ndarray) or array.dtype.hasobject:
                raise LTBenchError(
                    f"track {self.name} gave {name!r} to keep, which is no array of numbers or text"
                )
        for scores in (outcome.measures, outcome.transductive or {}):
            for name, value in scores.items():
                if name not in stored(self.measures):
                    raise LTBenchError(
                        f"track {self.name} gave a measure {name!r} that it does not declare"
                    )
                if value is not None and not math.isfinite(value):
                    raise LTBenchError(
                        f"track {self.name} gave {name} the value {value}; None says that there "
                        "is none"
                    )


TAKEN = (
    *("recipe", "rank", "rank_best", "rank_worst", "seeds", "delta", "status", "notes", "cost"),
    *("control", "board_seeds", "missing_seeds", "delta_p", "delta_adjusted_p"),
    *("submitted_by", "extra_data", "pretraining", "teachers", "tuning_trials", "apart"),
    *("detectable_alone", "detectable", *COSTS, *get_args(Status)),
)
"""What boards call the columns that all of them have."""


def refusal(track: Any) -> str | None:
    """Why a registered object cannot serve as a track, or None."""
    if not isinstance(track, Track):
        return f"{track!r} is not an instance of a subclass of ltbench.Track"
    kind = type(track).__name__
    if not NAME.fullmatch(track.name):
        return f"{kind}.name is {track.name!r}; a name looks like 'multi-label'"
    problem = getattr(track, "problem", None)
    if not (inspect.isclass(problem) and issubclass(problem, Protocol)):
        return f"track {track.name} lacks problem, a subclass of ltbench.Protocol"
    try:
        msgspec.json.Decoder(problem)
    except (TypeError, NameError) as error:
        return f"the problem of track {track.name} is no schema: {error}"
    if problem.__struct_config__.tag != track.name:
        return (
            f"the problem of track {track.name} is tagged {problem.__struct_config__.tag!r}; "
            f"say tag={track.name!r}"
        )
    divides = type(track).divide is not Track.divide
    for member in ("load", "seconds", "answer" if divides else "run"):
        if getattr(type(track), member) is getattr(Track, member):
            return f"track {track.name} lacks {member}"
    if not (inspect.isclass(track.hooks) and issubclass(track.hooks, Method)):
        return f"hooks of track {track.name} is {track.hooks!r}, not a subclass of ltbench.Method"
    for hook, rule in declared(track.hooks).items():
        if hook not in HOOKS and rule.many and rule.join is None and not rule.through:
            return f"hook {hook} of track {track.name} has many owners, whom no rule joins"
    return _refused_measures(track)


def _refused_measures(track: "Track[Any]") -> str | None:
    if not track.measures:
        return f"track {track.name} declares no measures"
    names = [measure.name for measure in track.measures]
    tables = (FIRST, SECOND, *(table.name for table in track.tables))
    bounds = {f"{name}_{end}" for name in (*names, "delta", "relative") for end in ("low", "high")}
    for measure in track.measures:
        if names.count(measure.name) > 1:
            return f"track {track.name} declares the measure {measure.name!r} twice"
        if measure.name in bounds.union(TAKEN):
            return (
                f"track {track.name} calls a measure {measure.name!r}, which boards call a column"
            )
        if measure.table not in tables:
            table = f"a table {measure.table!r}, which it lacks"
            return f"track {track.name} puts the measure {measure.name!r} into {table}"
    return None
