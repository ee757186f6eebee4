"""What protocol files state: the tables that many tracks share, and what a protocol is."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import NODEFAULT, Meta, Struct, structs
from msgspec.structs import force_setattr

AtLeastOne = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of a protocol file. Unknown keys are refused; those in `TELLING` decide no number."""

    TELLING: ClassVar[tuple[str, ...]] = ()


class Holds(Table, frozen=True):
    """What must hold of a source before anything is made of it; it is checked in every run.

    `classes` are the names of all classes, in the order of labels. `rows` are the least and the
    most that each class has, or each of the classes `of`, and `values` the least and the largest
    that an input may hold. With `unique` no row stands there twice, with `consistent` rows of equal
    inputs are of one class, and with `apart` no test row is a training row.
    """

    classes: tuple[str, ...] = ()
    rows: tuple[AtLeastOne, AtLeastOne] | None = None
    of: tuple[str, ...] = ()
    values: tuple[float, float] | None = None
    unique: bool = False
    consistent: bool = False
    apart: bool = False

    def __post_init__(self) -> None:
        for key in ("rows", "values"):
            ends = getattr(self, key)
            if ends is not None and not ends[0] <= ends[1]:
                raise ValueError(f"{key} {list(ends)} must not fall")
        if self.of and self.rows is None:
            raise ValueError("of names classes whose rows are to be told, but rows is missing")
        if not any(structs.astuple(self)):
            raise ValueError("holds states nothing")


class Data(Table, frozen=True):
    """Where the rows come from: the source, its fingerprint, and the parts cut from it.

    `size` is the side to which images of files are cut. `classes`, by name, are those that are
    kept, in the order of their labels; without it all are. `test_per_class` rows of each class
    become the test split of a source that has none. `validation_share` of each class's training
    rows is put aside before anything else happens. `label_noise` is the share of training labels
    that are replaced by another class, each equally often; validation rows keep theirs. `mean` and
    `std`, one a channel, standardise. `holds` is what must hold of the source.
    """

    TELLING: ClassVar[tuple[str, ...]] = ("holds",)

    source: str
    fingerprint: str
    size: AtLeastOne | None = None
    classes: tuple[str, ...] = ()
    test_per_class: AtLeastOne | None = None
    validation_share: Share | None = None
    label_noise: Share = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[Positive, ...] = ()
    holds: tuple[Holds, ...] = ()

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
    rule), or the cell's seed. Both need not be told of a source as it is, which has an order.
    `minority` is the share of classes that are small in a step.
    """

    profile: Literal["exponential", "step", "linear", "counts", "source"]
    class_order: Literal["label", "seed"] | None = None
    draw: Literal["fixed", "seed"] | None = None
    n_max: AtLeastOne | None = None
    factor: Annotated[float, Meta(ge=1)] | None = None
    counts: list[AtLeastOne] | None = None
    minority: Annotated[float, Meta(gt=0, lt=1)] = 0.5

    @staticmethod
    def also_required(content: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys that a table with this content cannot do without, beside those of all."""
        return () if content.get("profile") == "source" else ("class_order", "draw")

    def __post_init__(self) -> None:
        for key, usual in (("class_order", "label"), ("draw", "fixed")):
            if getattr(self, key) is None:
                if self.profile != "source":
                    raise ValueError(f"key {key} is missing")
                force_setattr(self, key, usual)
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
        from ltbench.protocols.imbalance import class_counts

        return class_counts(self.profile, self.n_max, self.factor, len(available), self.minority)


class Budget(Table, frozen=True):
    """The training that every method is given.

    The learning rate rises over the `warmup`, a share of the training, in a line. Then it falls
    along a cosine, or is `lr` times the next of `factors` from each of `milestones`, also shares,
    on. `crop-flip` moves an image by up to 4 pixels and may turn it over,
    `resized-crop` scales up a part of it, `shift` moves it by up to one pixel, and `siamese` is one
    of the operations of differentiable siamese augmentation, on the standardised image,
    `siamese-upright` one of those that do not mirror.
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
        if self.shot_splits[0] > self.shot_splits[1]:
            raise ValueError(f"shot_splits {list(self.shot_splits)} must not fall")


class Compute(Table, frozen=True):
    """What decides the bits of a cell on one machine, and its speed."""

    threads: AtLeastOne
    precision: Literal["float32", "bfloat16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"


class Protocol(Table, frozen=True, kw_only=True, tag_field="track"):
    """A fixed problem; two with one hash give the same numbers. Each track has a kind of its own.

    `recipes` are run where none are asked for, `seeds` are how many of each; `contrasts` are pairs
    of recipes to tell apart. `tuning_share` of each class's training rows are put aside while a
    recipe is tuned. `trial_share` are those in a protocol of trials, which are scored on them in
    place of its test rows; 0 in any other.
    """

    TELLING: ClassVar[tuple[str, ...]] = (
        "description",
        "recipes",
        "contrasts",
        "seeds",
        "tuning_share",
    )

    name: Name
    version: AtLeastOne
    description: str
    recipes: Annotated[list[str], Meta(min_length=1)]
    seeds: AtLeastOne
    compute: Compute
    contrasts: tuple[tuple[str, str], ...] = ()
    tuning_share: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    trial_share: Share = 0.0

    def __repr__(self) -> str:
        told = f"version {self.version}, track {self.track}, hash {self.hash}"
        return f"<Protocol {self.name}: {told}>"

    @property
    def track(self) -> str:
        return str(self.__struct_config__.tag)

    def board_rows(self, present: Collection[str], floor: Sequence[str] = ()) -> int:
        """How many rows a board of it has if it is whole, of which some are present.

        Those are its own recipes with the floor of its track, or, on a board that has others, those
        that are present.
        """
        own = {*self.recipes, *floor}
        return len(own) if own >= set(present) else len(present)

    @property
    def hash(self) -> str:
        """A hash of everything that decides a number of a cell: keys that only tell are left out,
        and so are those at their defaults, so that a new optional key changes no hash."""
        return _hash_of(stated(self))

    def counts(self, found: str) -> bool:
        """Whether records of this hash are of this protocol.

        They are under the earlier rule too, which hashed the number of seeds.
        """
        if found == self.hash:
            return True
        content = msgspec.to_builtins(self)
        for key in self.TELLING:
            content.pop(key, None)
        return found in _with_seeds(msgspec.json.encode(content))


MOST_SEEDS = 100  # for which the hash of the earlier rule is known


def stated(value: Any) -> Any:
    """A struct as nested dicts of what is not at its default and decides numbers; anything else as
    it is."""
    if isinstance(value, Struct):
        config = value.__struct_config__
        told = {config.tag_field: config.tag} if config.tag_field is not None else {}
        for field in structs.fields(value):
            if field.name in getattr(value, "TELLING", ()):
                continue
            inner = getattr(value, field.name)
            if field.default_factory is not NODEFAULT:
                default = field.default_factory()
            else:
                default = field.default
            if default is NODEFAULT or inner != default:
                told[field.encode_name] = stated(inner)
        return told
    if isinstance(value, dict):
        return {key: stated(inner) for key, inner in value.items()}
    return [*map(stated, value)] if isinstance(value, list | tuple) else value


def _hash_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


@cache
def _with_seeds(content: bytes) -> frozenset[str]:
    """The hashes of a protocol's content with any number of seeds."""
    told = msgspec.json.decode(content)
    return frozenset(_hash_of(told | {"seeds": n + 1}) for n in range(MOST_SEEDS))


class Classification(Protocol, frozen=True, kw_only=True):
    """A network learns to tell classes apart on an imbalanced set; many tracks state that much."""

    data: Data
    imbalance: Imbalance
    network: dict[str, Any]
    budget: Budget
    scoring: Scoring

    @staticmethod
    def also_required(content: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys that a protocol with this content cannot do without, beside those of all."""
        network = content.get("network")
        return ("network.name",) if isinstance(network, dict) and "name" not in network else ()

    def __post_init__(self) -> None:
        if not isinstance(self.network.get("name"), str):
            raise ValueError("key name is missing - at network")
