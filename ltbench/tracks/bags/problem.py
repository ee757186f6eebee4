"""The protocols of multiple-instance learning: how bags are made of images, or that they are."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, NonNegative, Positive, Table


class Planted(Table, frozen=True):
    """Bags of `length` images, of which one, the witness, tells the class, at any place.

    Class k has a witness of the source's class `witnesses[k]`; all others are of the classes
    `background`, any image as likely. Gaussian `noise` of that standard deviation, in units of
    inputs from 0 to 1, is added to every image. `test` bags of each class are to be tested on, of
    images that stand in no other bags.
    """

    witnesses: Annotated[tuple[str, ...], Meta(min_length=2)]
    background: Annotated[tuple[str, ...], Meta(min_length=1)]
    length: AtLeastOne
    test: AtLeastOne
    noise: NonNegative = 0.0

    def __post_init__(self) -> None:
        named = (*self.witnesses, *self.background)
        twice = next((name for k, name in enumerate(named) if name in named[:k]), None)
        if twice is not None:
            raise ValueError(f"witnesses and background name class {twice!r} twice")


class Drawn(Table, frozen=True):
    """Bags of images drawn with replacement, of two classes: without a `witness`, and with any.

    Lengths are the whole part of a normal number of that `mean` and `deviation`, at least 1, as
    those of MNIST-bags (arXiv:1802.04712). Bags are drawn one after the other, and one whose class
    has enough of them is passed over: so the protocol says how many bags of a class there are, and
    what is in them is what chance gives. `test` are the bags of each class to test on. `side` is
    that to which images are averaged down.
    """

    witness: str
    mean: Positive
    deviation: NonNegative
    test: AtLeastOne
    side: AtLeastOne | None = None


class Bags(Classification, frozen=True, kw_only=True, tag="bags"):
    """A network of instances learns classes of bags, of which rows hold many or few.

    Bags are `planted` or `drawn` of a source of one image a row, or those of a source that has
    bags, with a test split of its own. `network` takes one instance. With `adamw` the budget's
    momentum is the first of its betas.
    """

    planted: Planted | None = None
    drawn: Drawn | None = None
    optimizer: Literal["sgd", "adamw"] = "sgd"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.planted is not None and self.drawn is not None:
            raise ValueError("state planted or drawn, not both")
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
        if self.budget.augmentation != "none":
            raise ValueError("instances have no views: augmentation is 'none' - at budget")
        if len(self.data.mean) > 1:
            raise ValueError("mean and std are one number each, for all of an instance - at data")
        made = self.made is not None
        if made and self.imbalance.profile == "source":
            raise ValueError("bags that are made need a profile with counts - at imbalance")
        if made and (self.data.validation_share is not None or self.data.classes):
            raise ValueError("validation_share and classes are not for made bags - at data")
        if not made and (self.data.test_per_class or self.data.classes or self.data.size):
            raise ValueError(
                "a source of bags has a test split, and all its classes are taken: leave out "
                "test_per_class, classes and size, or say how bags are made of images - at data"
            )

    @property
    def made(self) -> Planted | Drawn | None:
        """How bags are made, where they are."""
        return self.planted or self.drawn
