"""Fixed protocols, one TOML file each, and the loader that checks and hashes them."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ltbench.compressing import Compressing, Pool
from ltbench.distilling import Distilling
from ltbench.errors import LTBenchError, UnknownName
from ltbench.names import NAMES, TABULAR_NAMES
from ltbench.validation import convert

AtLeastOne = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a protocol file. A key at its default is left out of the hash, so that a new
    optional key changes the hash of the protocols that use it only."""


class Data(Table, frozen=True):
    """Where the rows come from: the source, its fingerprint, and the parts cut from it.

    `size` is the side to which images of files are cut. `classes`, by name, are those that are
    kept, in the order of their labels; without it all are. `test_per_class` rows of each class
    become the test split of a source that has none. `validation_share` of each class's training
    rows is put aside before anything else happens. `label_noise` is the share of training labels
    that are replaced by another class, each equally often; validation rows keep theirs. `mean` and
    `std`, one a channel, standardise.
    """

    source: str
    fingerprint: str
    size: AtLeastOne | None = None
    classes: tuple[str, ...] = ()
    test_per_class: AtLeastOne | None = None
    validation_share: Share | None = None
    label_noise: Share = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[Positive, ...] = ()

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std need a number for each channel")
        if len(set(self.classes)) < len(self.classes) or len(self.classes) == 1:
            raise ValueError("classes needs two names or more, each once")


class Imbalance(Table, frozen=True):
    """How many rows of each class are trained on, and which.

    `profile` is filled from the largest class down, or takes the rows of the source as they are;
    `class_order` says which class is largest: the first label, or one that the cell's seed
    chooses. `draw` says what shuffles the rows of a class: seed 0 for all cells (the published
    rule), or the cell's seed. `minority` is the share of classes that are small in a step.
    """

    profile: Literal["exponential", "step", "linear", "counts", "source"]
    class_order: Literal["label", "seed"]
    draw: Literal["fixed", "seed"]
    n_max: AtLeastOne | None = None
    factor: Annotated[float, Meta(ge=1)] | None = None
    counts: list[AtLeastOne] | None = None
    minority: Annotated[float, Meta(gt=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        given = {key for key in ("n_max", "factor", "counts") if getattr(self, key) is not None}
        needed = {"counts": {"counts"}, "source": set()}.get(self.profile, {"n_max", "factor"})
        if given != needed:
            what = " and ".join(sorted(needed)) or "nothing"
            raise ValueError(f"profile {self.profile!r} needs {what} alone")

    def class_counts(self, available: Sequence[int]) -> list[int]:
        """The rows of each class, from the largest class to the smallest.

        `available` are those of the source; a source as it is keeps its own order.
        """
        if self.profile == "source":
            return list(available)
        if self.counts is not None:
            return self.counts
        assert self.profile != "counts" and self.n_max is not None and self.factor is not None
        from ltbench.imbalance import class_counts

        return class_counts(self.profile, self.n_max, self.factor, len(available), self.minority)


class Budget(Table, frozen=True):
    """The training that every method is given.

    The learning rate rises over the `warmup`, a share of the training, in a line. Then it falls
    along a cosine, or is `lr` times the next of `factors` from each of `milestones`, also shares,
    on. `crop-flip` moves an image by up to 4 pixels and may turn it over,
    `resized-crop` scales up a part of it, `shift` moves it by up to one pixel, and `siamese` is one
    of the operations of differentiable siamese augmentation, `siamese-upright` one of those that
    do not mirror.
    """

    epochs: AtLeastOne
    batch_size: AtLeastOne
    lr: Positive
    momentum: Share
    nesterov: bool
    weight_decay: NonNegative
    warmup: Share
    decay: Literal["cosine", "steps"]
    augmentation: Literal[
        "none", "crop-flip", "resized-crop", "shift", "siamese", "siamese-upright"
    ]
    milestones: tuple[Share, ...] = ()
    factors: tuple[Positive, ...] = ()

    def __post_init__(self) -> None:
        if (self.decay == "steps") != bool(self.milestones):
            raise ValueError(f"decay {self.decay!r} does not go with milestones {self.milestones}")
        if len(self.milestones) != len(self.factors):
            raise ValueError("each of milestones needs one of factors")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones {list(self.milestones)} must rise")


class Scoring(Table, frozen=True):
    """The metrics, the first of which ranks, and the borders of the shot groups.

    Classes with fewer training rows than the first border are few, with more than the second
    many. `balanced` names the protocol whose records are the reference of relative accuracy.
    """

    metrics: Annotated[list[str], Meta(min_length=1)]
    shot_splits: tuple[AtLeastOne, AtLeastOne]
    balanced: str | None = None

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in NAMES:
                raise ValueError(f"unknown metric {name!r}; known: {', '.join(NAMES)}")
        if self.shot_splits[0] > self.shot_splits[1]:
            raise ValueError(f"shot_splits {list(self.shot_splits)} must not fall")


class Compute(Table, frozen=True):
    """What decides the bits of a cell on one machine, and its speed."""

    threads: AtLeastOne
    precision: Literal["float32", "bfloat16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"


class Protocol(Table, frozen=True, tag_field="track"):
    """A fixed problem; two with one hash give the same numbers. Each track has a kind of its own.

    `recipes` are run where none are asked for, `seeds` are how many of each.
    """

    name: Name
    version: AtLeastOne
    description: str
    recipes: Annotated[list[str], Meta(min_length=1)]
    seeds: AtLeastOne
    compute: Compute

    @property
    def track(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def hash(self) -> str:
        """A hash of everything that decides a number: all keys but the ones that only tell."""
        content = msgspec.to_builtins(self)
        for key in ("description", "recipes", "contrasts"):
            content.pop(key, None)
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


class Recognition(Protocol, frozen=True, tag="recognition"):
    """A network is trained from scratch on an imbalanced set."""

    data: Data
    imbalance: Imbalance
    network: dict[str, Any]
    budget: Budget
    scoring: Scoring

    def __post_init__(self) -> None:
        if not isinstance(self.network.get("name"), str):
            raise ValueError("key name is missing - at network")


class Distillation(Recognition, frozen=True, tag="distillation"):
    """An imbalanced set is distilled into a few rows a class, on which networks are trained.

    On each distilled set `networks` fresh networks are trained for `steps` updates, or for the
    epochs of the budget if those are more; `contrasts` are pairs of recipes to tell apart.
    """

    distilling: Distilling
    networks: AtLeastOne
    steps: AtLeastOne
    contrasts: tuple[tuple[str, str], ...] = ()


class Compression(Recognition, frozen=True, tag="compression"):
    """A trained network is made smaller with a few imbalanced rows.

    `teacher` is the training of that network on all rows of `imbalance`, `budget` the one in which
    the smaller network recovers. `ood` is the pool for methods that ask for one; `contrasts` are
    pairs of recipes to tell apart.
    """

    compressing: Compressing
    teacher: Budget
    ood: Pool
    contrasts: tuple[tuple[str, str], ...] = ()


class TableData(Table, frozen=True):
    """One table: its source and fingerprint, and how a classification is made of it.

    `source` names a table that scikit-learn ships ("scikit-learn/wine") or a file of the data
    folder ("tabular/glass"), which is fetched from OpenML by the number `openml` if it is missing.
    `target` is its column of classes. `missing` is what stands for a missing value. `positive` are
    the classes that become one, against all others; without it each is a class. `edges` cut a
    target of numbers into ordered classes; `ordered` says that the classes, in the order of their
    names, are. `factor` is the imbalance to which rows are dropped, along an exponential profile;
    `rows` at most are kept, of each class its share. Both drop the same rows for every seed.
    """

    source: str
    fingerprint: str
    openml: AtLeastOne | None = None
    target: str = "target"
    missing: str | None = None
    positive: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    ordered: bool = False
    factor: Annotated[float, Meta(ge=1)] | None = None
    rows: AtLeastOne | None = None

    def __post_init__(self) -> None:
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
        known = ("f1-then-g-mean", *TABULAR_NAMES)
        if self.ranking not in known:
            raise ValueError(f"unknown ranking {self.ranking!r}; known: {', '.join(known)}")


class Tabular(Protocol, frozen=True, tag="tabular"):
    """Learners are fitted to tables, in two stratified folds a seed.

    `learners` holds the parameters of each base learner by its name.
    """

    tables: Annotated[dict[Name, TableData], Meta(min_length=1)]
    learners: Annotated[dict[str, dict[str, Any]], Meta(min_length=1)]
    scoring: TabularScoring = TabularScoring()


KINDS = (Recognition, Distillation, Compression, Tabular)


@cache
def built_in() -> dict[str, Path]:
    """The files of the project's own protocols by name."""
    return {file.stem: file for file in sorted(Path(__file__).parent.glob("*.toml"))}


def load(file: Path) -> Protocol:
    """The protocol that a TOML file states.

    Raises:
        LTBenchError: it cannot be read, has an unknown key, a wrong type or a value out of range.
    """
    return convert(f"protocol {file}", _content(file, ()), *KINDS)


def _content(file: Path, above: tuple[str, ...]) -> dict[str, Any]:
    """What a file states on top of its `base`: another file beside it, or a built-in protocol."""
    content = dict(_parsed(file))
    base = content.pop("base", None)
    if base is None:
        return content
    found = _base(file, base)
    if found is None or base in above:
        beside = file.parent.glob("*.toml")
        known = {*built_in(), *(path.stem for path in beside if path != file)}
        raise UnknownName("base", str(base), known, where=f"in protocol {file}")
    return _merged(_content(found, (*above, base)), content)


def _base(file: Path, base: Any) -> Path | None:
    """The file of a base: one beside comes before a shipped one."""
    if isinstance(base, str) and Path(base).name == base:
        beside = file.parent / f"{base}.toml"
        if beside != file and beside.exists():
            return beside
    return built_in().get(base) if isinstance(base, str) else None


def _parsed(file: Path) -> dict[str, Any]:
    from tomllib import TOMLDecodeError

    try:
        return _toml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LTBenchError(f"protocol {file} cannot be read: {error.strerror}") from None
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise LTBenchError(f"protocol {file} is not TOML: {error}") from None


@cache
def _toml(text: str) -> dict[str, Any]:
    """A text is parsed once, however many files stand on it."""
    import tomllib

    return tomllib.loads(text)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables go key by key, but imbalance and network are one choice each and go whole."""
    merged = dict(below)
    for key, value in above.items():
        inner = isinstance(value, dict) and isinstance(below.get(key), dict)
        by_key = inner and key not in ("imbalance", "network")
        merged[key] = _merged(below[key], value) if by_key else value
    return merged
