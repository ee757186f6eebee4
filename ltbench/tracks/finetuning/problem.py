"""The protocols of fine-tuning: what networks were trained on before, and how."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import (
    AtLeastOne,
    Budget,
    Classification,
    NonNegative,
    Positive,
    Table,
)


class Upstream(Table, frozen=True):
    """Networks that the protocol trains before, plainly, on rows that are in no other part.

    Each of so many `models` has a tail of its rows from `n_max` down by `factor`, exponentially,
    along an order of classes that the seed draws: another for each model, or one for all. Of one
    class a smaller part of rows is the beginning of a larger one. `budget` is the training.
    """

    models: AtLeastOne
    orders: Literal["different", "same"]
    n_max: AtLeastOne
    factor: Positive
    budget: Budget

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor {self.factor:g} must be 1 or more")


class Pretrained(Table, frozen=True):
    """A file of weights of the protocol's network, which somebody else trained.

    `file` is a name that `--data NAME=FILE` gives, or a path, from the data folder where it is a
    relative one. `sha256` is that of its bytes, or "any". `counts` are the rows of each class that
    it was trained on, where that is known.
    """

    file: str
    sha256: Annotated[str, Meta(pattern=r"^(any|[0-9a-f]{64})$")]
    counts: tuple[AtLeastOne, ...] = ()


class Finetuning(Classification, frozen=True, kw_only=True, tag="finetuning"):
    """Networks that were trained before, upstream, learn the classes of an imbalanced set.

    The protocol trains them itself, as `upstream` says, or each of `pretrained` is one. Gaussian
    `noise` of that standard deviation, in units of stored inputs, is added to every row of the
    source, the same in all cells.
    """

    upstream: Upstream | None = None
    pretrained: tuple[Pretrained, ...] = ()
    noise: NonNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
        if (self.upstream is None) == (not self.pretrained):
            raise ValueError("state upstream, or weights of others as pretrained, and not both")
