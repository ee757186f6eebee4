"""Overview: what boards of all kinds have in common, for pages, figures and papers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ltbench.rendering.figures import Figure, Verdict
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import Cost, Differences, Mean


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of any board.

    `gain` is the difference to the reference, above zero where the row is better, and `gains` those
    that it is the mean of, of seeds or tables; `verdict` is what its 95 % interval tells, `holds`
    whether it is told apart among all rows, None where that cannot be told. `values` are what it
    reached by seed, `recall` that of each class from head to tail. `best` says that it is told
    apart from all others and better. `rows_error` is the standard error that the test rows give the
    gain beside the seeds. `further` are cells of columns of the track's own.
    """

    recipe: str
    rank: str
    place: tuple[int, int] | None
    means: dict[str, Mean]
    gain: Mean | None
    gains: list[float]
    verdict: Verdict
    holds: bool | None
    best: bool
    cost: Cost
    seeds: int
    status: dict[str, int]
    notes: list[str]
    control: bool = False
    values: dict[int, float] = field(default_factory=dict)
    recall: list[float | None] = field(default_factory=list)
    further: dict[str, str] = field(default_factory=dict)
    rows_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A board in the terms that all kinds share; rows come best first.

    `counts` are the training rows of each class from head to tail, by table ("" where there is
    one). `over` is what the numbers are means over. `said` explains the columns, `resolved` what
    the board can tell, `of_rows` what its test rows add to that. `contrasts` are pairs that the
    protocol declares, and what is told of each. `figures` are those of its track alone.
    """

    protocol: str
    version: int
    hash: str
    track: str
    description: str
    cells: int
    wanted: int
    reference: str
    ranking: Measure
    measures: list[Measure]
    entries: list[Entry]
    over: str
    said: list[str]
    resolved: str
    of_rows: str = ""
    doing: str
    unit: str
    machines: list[str]
    remarks: list[str]
    counts: dict[str, list[int]]
    pairs: Differences | None = None
    contrasts: Sequence[tuple[str, str, str]] = ()
    figures: Sequence[Figure] = ()

    @property
    def factor(self) -> float:
        """The imbalance factor; of several tables the median."""
        every = sorted(max(one) / max(min(one), 1) for one in self.counts.values() if one)
        return every[len(every) // 2] if every else 1.0

    @property
    def classes(self) -> int:
        """The number of classes; of several tables the most."""
        return max(map(len, self.counts.values()), default=0)


def verdict_of(gain: Mean | None) -> Verdict:
    """What the interval of a gain tells."""
    if gain is None or gain.low is None or gain.high is None:
        return "untold"
    return "better" if gain.low > 0 else "worse" if gain.high < 0 else "same"


def turned(mean: Mean | None, sign: float) -> Mean | None:
    """A difference such that above zero is better, where `sign` is that of its measure."""
    if mean is None or sign > 0:
        return mean
    low, high = (None if end is None else -end for end in (mean.high, mean.low))
    return Mean(None if mean.mean is None else -mean.mean, low, high)
