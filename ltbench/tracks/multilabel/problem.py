"""The protocols of several labels a row under a long tail."""

from itertools import accumulate
from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, Share, Table

CELLS = 2  # along each side of a scene


class Scenes(Table, frozen=True):
    """How scenes are made of the images of a source with one label a row.

    A scene has 2x2 cells. One holds an image of the scene's *primary* class, of which there are as
    many as `imbalance` says; `further` are the chances of 0, 1, 2 and 3 further classes, drawn
    without repetition by the same law. To test on are `test` scenes, whose primaries come in turn
    and whose further classes come equally often. `side` is that of a cell, to which images are
    averaged down.
    """

    further: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=CELLS**2)]
    test: AtLeastOne
    side: AtLeastOne | None = None

    def __post_init__(self) -> None:
        if abs(sum(self.further) - 1) > 1e-9:
            raise ValueError(f"the chances further {list(self.further)} must sum to 1")

    @property
    def cumulated(self) -> list[float]:
        """The chances of at most 0, 1, ... further classes."""
        return [*accumulate(self.further)]


class MultiLabel(Classification, frozen=True, kw_only=True, tag="multilabel"):
    """A network learns which labels a row has, of which there may be several.

    Rows are `scenes` made of a source of one label a row, or those of a source with a matrix of
    labels. Of each row's labels to train on a share is `missing`: they are told as absent. With
    `adamw` the budget's momentum is the first of its betas; steps then do not depend on the scale
    of a loss, in which those of several labels differ.
    """

    scenes: Scenes | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"
    missing: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track; state missing - at data")
        if self.data.validation_share is not None:
            raise ValueError("validation_share is not for this track - at data")
        if self.scenes is None and self.imbalance.profile != "source":
            raise ValueError(
                "rows with a matrix of labels are taken as they are: profile 'source', or state "
                "scenes - at imbalance"
            )
        if self.scenes is None and (self.data.classes or self.data.test_per_class):
            raise ValueError(
                "classes and test_per_class are for scenes; a source with a matrix of labels is "
                "taken as it is - at data"
            )
        if self.scenes is not None and self.imbalance.profile == "source":
            raise ValueError("scenes need a profile with counts of their own - at imbalance")
