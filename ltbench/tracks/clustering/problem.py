"""The protocols of clustering and discovery under a long tail."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, Positive, Table

Strong = Literal["affine", "siamese", "siamese-upright"]


class Encoder(Table, frozen=True):
    """How the network is trained that all recipes of a seed share, without any label.

    Two `strong` views of each row are to be nearest to each other, in cosines divided by the
    `temperature` (SimCLR). It learns for so many `epochs` by Adam at the rate `lr`, which falls
    along a cosine. Then `views` of each row are passed through it and stored, for recipes to learn
    from.
    """

    epochs: AtLeastOne
    batch_size: Annotated[int, Meta(ge=2)]
    lr: Positive
    temperature: Positive
    strong: Strong
    views: Annotated[int, Meta(ge=2)]


class Known(Table, frozen=True):
    """How many classes are known, chosen by the seed, and the `share` of their rows that have a
    label."""

    classes: AtLeastOne
    share: Annotated[float, Meta(gt=0, lt=1)]


class Clusters(Classification, frozen=True, kw_only=True, tag="clustering"):
    """Rows are put into as many clusters as there are classes, whose sizes have a long tail.

    Without `known` no row has a label. With it some rows of some classes have, and the others are
    to be told apart, those of known classes and those of new ones. A step takes `rows` rows without
    regard to labels, or all there are. The head is `scale` times a cosine.
    """

    encoder: Encoder
    rows: Annotated[int, Meta(ge=2)]
    known: Known | None = None
    scale: Positive = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
        if self.data.validation_share:
            raise ValueError("validation_share is not for this track - at data")
        if self.budget.augmentation != "none":
            raise ValueError(
                "augmentation must be none, as the encoder has strong views - at budget"
            )
