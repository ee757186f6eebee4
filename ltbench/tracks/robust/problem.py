"""The protocols of adversarially robust learning."""

from typing import Annotated

from msgspec import Meta

from ltbench.protocols.schema import Classification, Table


class ThreatTable(Table, frozen=True):
    """An l-infinity ball of radius `eps` in units of pixels, which lie in [0, 1].

    In training an attack takes so many `steps` of length `step`. The evaluation's are fixed. It is
    on all test rows, or on `rows_per_class` of each class, the same ones in every cell.
    """

    eps: Annotated[float, Meta(gt=0, le=1)]
    step: Annotated[float, Meta(gt=0, le=1)]
    steps: Annotated[int, Meta(ge=0)]
    rows_per_class: Annotated[int, Meta(ge=1)] | None = None


class Robust(Classification, frozen=True, kw_only=True, tag="robust"):
    """A network learns on an imbalanced set, and is attacked as it is tested."""

    threat: ThreatTable

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
