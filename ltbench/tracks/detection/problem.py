"""The protocols of stored scores: what is kept of them, and how the track makes its own."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from ltbench.protocols.schema import (
    AtLeastOne,
    Budget,
    Classification,
    Data,
    Imbalance,
    NonNegative,
    Positive,
    Protocol,
    Scoring,
    Table,
)
from ltbench.tracks.detection.contract import Head

TRAINED = ("imbalance", "network", "budget")  # what a protocol with scenes states, and no other


class Keep(Table, frozen=True):
    """What is kept of scores: of a picture the `most` best boxes over all classes.

    Any class of a proposal counts whose probability is `floor` or more. From the best down, a box
    goes that overlaps a better one of its class by more than `overlap`, intersection over union.
    """

    most: AtLeastOne
    overlap: Annotated[float, Meta(gt=0, le=1)]
    floor: Annotated[float, Meta(gt=0, lt=1)]


class Scenes(Table, frozen=True):
    """How scenes are made of the images of a source with one label a row, and seen by windows.

    A scene is a square of `side` pixels with up to `most` images, averaged down to `box` pixels,
    that hardly overlap. `train` scenes are to train on, which hold boxes of the classes as
    `imbalance` says; `test` scenes hold `each` boxes of each class. Along the tail every other
    class lies uniformly, and those between each around a point of its own, `spread` pixels about
    it. Gaussian `noise` of that standard deviation, in units of the range of pixels, is added.

    The detector looks at every `stride`-th place, at a window that is `margin` wider than the box
    on each side. It is trained on all windows that overlap a box by half or more and on
    `background` others of each scene, drawn from those that overlap none by 0.3 or more.
    """

    side: AtLeastOne
    box: AtLeastOne
    most: AtLeastOne
    train: AtLeastOne
    test: AtLeastOne
    each: AtLeastOne
    spread: Positive
    noise: NonNegative
    margin: Annotated[int, Meta(ge=0)]
    stride: AtLeastOne
    background: AtLeastOne

    def __post_init__(self) -> None:
        if self.box > self.side:
            raise ValueError(f"box {self.box} does not fit a scene of side {self.side}")

    @property
    def window(self) -> int:
        """The side of a window."""
        return self.box + 2 * self.margin


class Detection(Protocol, frozen=True, kw_only=True, tag="detection"):
    """Boxes of a detector are ranked by its stored scores; classes are rare to train on.

    With `scenes` the protocol makes pictures, and trains a detector on them whose last layer is a
    `head`. Without them scores, boxes and truth are those of a user's files.
    """

    data: Data
    keep: Keep
    scoring: Scoring
    head: Head = "softmax"
    scenes: Scenes | None = None
    imbalance: Imbalance | None = None
    network: dict[str, Any] = {}
    budget: Budget | None = None

    @staticmethod
    def also_required(content: Mapping[str, Any]) -> tuple[str, ...]:
        """The keys that a protocol with this content cannot do without, beside those of all."""
        if "scenes" not in content:
            return ()
        network = content.get("network")
        named = isinstance(network, dict) and "name" not in network
        return (*TRAINED, *(("network.name",) if named else ()))

    def __post_init__(self) -> None:
        for key in ("validation_share", "label_noise"):
            if getattr(self.data, key):
                raise ValueError(f"{key} is not for this track - at data")
        if self.scenes is None:
            stated = [key for key in TRAINED if getattr(self, key)]
            if stated:
                raise ValueError(f"{stated[0]} is for a detector of scenes, but scenes is missing")
            if self.data.classes or self.data.test_per_class or self.data.size:
                raise ValueError("stored scores are taken whole: state source alone - at data")
        elif self.imbalance is not None and self.imbalance.profile == "source":
            raise ValueError("scenes need a profile with counts of their own - at imbalance")


class Windows(Classification, frozen=True, kw_only=True, tag="detection"):
    """What a detector is trained on: windows of scenes, the background as one more class."""


def of_windows(protocol: Detection) -> Windows:
    """How a protocol trains its detector."""
    assert protocol.imbalance is not None and protocol.budget is not None
    return Windows(
        name=protocol.name,
        version=protocol.version,
        description="",
        recipes=protocol.recipes,
        seeds=protocol.seeds,
        compute=protocol.compute,
        data=protocol.data,
        imbalance=protocol.imbalance,
        network=protocol.network,
        budget=protocol.budget,
        scoring=protocol.scoring,
    )
