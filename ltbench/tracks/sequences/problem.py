"""The protocols of sequences: what a row is, and how it may be moved."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, NonNegative, Share, Table

Names = Annotated[tuple[str, ...], Meta(min_length=1)]


class Layout(Table, frozen=True):
    """What a row is: numbers of `channels`, in the order in which they stand, at so many `steps`.

    A sequence of the source that ends earlier is filled up at its end: with "zeros", which are
    those that the network sees, after standardising, or with its "last" step again and again.
    `parts` are channels that belong together, as those of a part of a body; each channel is in one.
    """

    channels: Names
    steps: AtLeastOne
    padding: Literal["zeros", "last"]
    parts: tuple[Names, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.channels)) < len(self.channels):
            raise ValueError("two channels have one name")
        together = [name for part in self.parts for name in part]
        if self.parts and (len(self.parts) < 2 or sorted(together) != sorted(self.channels)):
            raise ValueError("parts needs two or more, and each of channels in one of them")


class Moved(Table, frozen=True):
    """How a row is changed each time that it is trained on.

    It is moved by up to `shift` steps either way, over zeros. Each of its channels is multiplied by
    a factor within `scaling` of 1, and Gaussian noise with `jitter` as its standard deviation is
    added to each number; both are told in units of standardised inputs.
    """

    shift: AtLeastOne
    scaling: Share = 0.0
    jitter: NonNegative = 0.0


class Sequences(Classification, frozen=True, kw_only=True, tag="sequences"):
    """A network is trained on sequences, of which some classes are rare.

    `sequence` says what a row is, `views` how it is moved while training; without, it is not.
    """

    sequence: Layout
    views: Moved | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget.augmentation != "none":
            raise ValueError(
                f"augmentation {self.budget.augmentation!r} is for images; [views] moves sequences "
                "- at budget"
            )
        if self.data.size is not None:
            raise ValueError("size is for images - at data")
        channels = len(self.sequence.channels)
        if len(self.data.mean) not in (0, channels):
            raise ValueError(f"mean and std need one for each of {channels} channels - at data")
