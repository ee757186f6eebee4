"""The protocols of semi-supervised learning under a long tail."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import Classification, Name, Positive, Share, Table

Profile = Literal["consistent", "uniform", "reversed", "middle", "head-tail", "source"]
Strong = Literal["affine", "siamese", "siamese-upright"]


class Pool(Table, frozen=True):
    """The rows whose labels are withheld, and how they are learned from.

    They are other rows of the same source. `n_max` and `factor` give an exponential profile: as the
    labelled rows fall (`consistent`), all classes alike (`uniform`, factor 1), from the
    rarest labelled class down (`reversed`), from the middle outwards, or from both ends inwards
    (`head-tail`). Or they are all training rows of another `source`, with its `fingerprint`.
    `unknown` names classes that only the pool has, with so many `unknown_rows` in all.

    A step takes `ratio` of them for each labelled row, and shows each by the protocol's view and by
    a `strong` one.
    """

    profile: Profile
    ratio: Positive
    strong: Strong
    n_max: Annotated[int, Meta(ge=0)] | None = None
    factor: Annotated[float, Meta(ge=1)] = 1.0
    source: Name | None = None
    fingerprint: str | None = None
    unknown: tuple[str, ...] = ()
    unknown_rows: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        keys = ("n_max", "source", "fingerprint")
        given = {key for key in keys if getattr(self, key) is not None}
        wanted = {"source", "fingerprint"} if self.profile == "source" else {"n_max"}
        if given != wanted:
            raise ValueError(f"profile {self.profile!r} needs {' and '.join(sorted(wanted))} alone")
        if self.factor > 1 and self.profile in ("uniform", "source"):
            raise ValueError(f"profile {self.profile!r} has no factor; leave it out, or state 1")
        if self.n_max == 0:
            raise ValueError(
                "a pool of no rows teaches nothing; state n_max of 1 or more, or take a protocol "
                "of another track, which has labelled rows alone"
            )
        if bool(self.unknown) != bool(self.unknown_rows):
            raise ValueError("unknown needs unknown_rows of 1 or more, and they need unknown")


class Semi(Classification, frozen=True, kw_only=True, tag="semi"):
    """A network learns from few labelled rows, and a pool of rows whose labels are withheld.

    With `ema` above 0 what is scored are exponential means of the weights, of that decay a step.
    """

    pool: Pool
    ema: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
