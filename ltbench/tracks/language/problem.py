"""The protocols of texts: what is read of each, and what stands for it as numbers."""

from typing import Annotated

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, Table

FEATURES = 4000


class Texts(Table, frozen=True):
    """How texts become rows of numbers.

    Of each text the first `words` are read, or all. It is then a row of TF-IDF over the `features`
    most frequent words of the training texts, or a vector that was made before: `vectors` is
    "minilm", the sentence encoder of a package, or names a file .npy or .npz with a vector for each
    text [N, D], which `--data NAME=FILE` gives, or a path, from the data folder where it is a
    relative one. In a file of the user's `column` holds the texts and `label` their classes;
    `separator` and `encoding` are found out where nothing is said.
    """

    words: AtLeastOne | None = None
    features: AtLeastOne = FEATURES
    vectors: str | None = None
    column: str = "text"
    label: str = "label"
    separator: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.vectors is not None and self.features != FEATURES:
            raise ValueError("features are those of TF-IDF, but vectors are stated")
        if self.column == self.label:
            raise ValueError(f"column and label are both {self.label!r}")


class Language(Classification, frozen=True, kw_only=True, tag="language"):
    """A network learns the classes of texts, of which some are rare."""

    texts: Texts

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("size", "mean"):
            if getattr(self.data, key):
                raise ValueError(f"{key} is for images - at data")
        if self.budget.augmentation != "none":
            raise ValueError("texts have no augmentation - at budget")
