"""The protocols of tables."""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Holds, Name, Protocol, Table
from ltbench.tracks.tabular.measures import NAMES

PLAIN, TUNED = "erm", "threshold"
FLOOR = (PLAIN, "class-weights", TUNED)


class TableHolds(Holds, frozen=True):
    """What must hold of a table; `values` are those of one `column`.

    In each row the columns `rising` do not fall from one to the next. Where all columns of `where`
    hold one of their words, those of `then` hold one of theirs. A missing value breaks neither.
    """

    column: str = ""
    rising: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = {}
    then: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.apart:
            raise ValueError("apart is for a test split, which no table has; say unique")
        if bool(self.column) != (self.values is not None):
            raise ValueError("values and column go together: the range of that column")
        if len(self.rising) == 1 or bool(self.where) != bool(self.then):
            raise ValueError("rising needs two columns or more, and where goes with then")


class TableData(Table, frozen=True):
    """One table: its source and fingerprint, and how a classification is made of it.

    `source` names a table that scikit-learn ships ("scikit-learn/wine") or a file of the data
    folder ("tabular/glass"), which is fetched from OpenML by the number `openml` if it is missing.
    `target` is its column of classes, `drop` are columns that are left out, `categories` those that
    are of words, whatever they look like. `missing` is what stands for a missing value, a word or
    several. `separator`, `decimal`, `header` and `encoding`
    say how delimited text is written, where that cannot be found out. `positive` are the classes
    that become one, against all others; without it each is a class. `edges` cut a target of numbers
    into ordered classes; `ordered` says that the classes, in the order of their names, are.
    `factor` is the imbalance to which rows are dropped, along an exponential profile; `rows` at
    most are kept, of each class its share. Both drop the same rows for every seed. `holds` is what
    must hold of the table before they do.
    """

    TELLING: ClassVar[tuple[str, ...]] = ("holds",)

    source: str
    fingerprint: str
    openml: AtLeastOne | None = None
    target: str = "target"
    drop: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str | tuple[str, ...] | None = None
    separator: Annotated[str, Meta(pattern=r"^[^\s\"']$|^[\t ]$")] | None = None
    decimal: Literal[".", ","] | None = None
    header: bool | None = None
    encoding: str | None = None
    positive: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    ordered: bool = False
    factor: Annotated[float, Meta(ge=1)] | None = None
    rows: AtLeastOne | None = None
    holds: tuple[TableHolds, ...] = ()

    def __post_init__(self) -> None:
        if self.target in self.drop:
            raise ValueError(f"drop leaves out the target {self.target!r}")
        if self.positive and (self.edges or self.ordered):
            raise ValueError("positive makes two classes; edges and ordered are for more")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"edges {list(self.edges)} must rise")


class TabularScoring(Table, frozen=True):
    """What ranks, and the rows of held-out scores that thresholds are set on.

    `ranking` is a metric, or a rule: "f1-then-g-mean" orders by F1 and breaks its ties, which are
    differences within one standard error, by G-mean. `folds` are the parts of the training rows
    each of which is scored by a model of the others.
    """

    ranking: str = "f1-then-g-mean"
    folds: Annotated[int, Meta(ge=2)] = 5

    def __post_init__(self) -> None:
        known = ("f1-then-g-mean", *NAMES)
        if self.ranking not in known:
            raise ValueError(f"unknown ranking {self.ranking!r}; known: {', '.join(known)}")


class Tabular(Protocol, frozen=True, kw_only=True, tag="tabular"):
    """Learners are fitted to tables, in two stratified folds a seed.

    `learners` holds the parameters of each base learner by its name.
    """

    tables: Annotated[dict[Name, TableData], Meta(min_length=1)]
    learners: Annotated[dict[str, dict[str, Any]], Meta(min_length=1)]
    scoring: TabularScoring = TabularScoring()
