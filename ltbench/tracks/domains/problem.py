"""The protocols of domains and groups."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, Table

Rows = Annotated[int, Meta(ge=0)]


class Domain(Table, frozen=True):
    """One domain: what its images look like, and its tail.

    Images of the source are turned by `turned` degrees against the clock, their `colours` are
    kept, inverted or grey, and a square of `corner` pixels a side in the upper left one is white:
    what a network may take for a class that it goes with. The tail is `forward`, the profile along
    the order of classes, `backward`, along the reverse of it, `own`, along an order of its own that
    the seed draws, `balanced`, n_max rows of each, or stated: `counts`, rows by class.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    turned: float = 0.0
    colours: Literal["kept", "inverted", "grey"] = "kept"
    corner: Rows = 0
    tail: Literal["forward", "backward", "own", "balanced"] = "forward"
    counts: tuple[Rows, ...] = ()


class Metadata(Table, frozen=True):
    """A file that names the images of a source, with columns for what is known of each.

    `file` stands in the source's folder, and the images in `images` below that. A row belongs to
    training or testing if its `split` column says `train` or `test`; others are not read.
    """

    file: str
    image: str
    label: str
    group: str
    split: str
    train: str = "train"
    test: str = "test"
    images: str = "."


class Domains(Classification, frozen=True, kw_only=True, tag="domains"):
    """Rows come from several domains or groups, each with a tail of its own.

    `domains` are made of a source, each from other images; without any, the source's rows have
    groups, which `metadata` may tell. `imbalance` is that of each domain. One domain is `held_out`
    of the training, another with each seed, and tested on. Every test image is shown in each
    domain, or they are `parted` among these. `validation_per_cell` rows of each class in each
    domain are put aside. `merged` makes classes one under a new name.
    """

    domains: tuple[Domain, ...] = ()
    metadata: Metadata | None = None
    held_out: Literal["none", "seed"] = "none"
    tested: Literal["all", "parted"] = "all"
    validation_per_cell: AtLeastOne | None = None
    merged: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [domain.name for domain in self.domains]
        if len(set(names)) < len(names):
            raise ValueError("two domains have one name - at domains")
        if len(names) == 1:
            raise ValueError("one domain is none; state two or more - at domains")
        self._refuse_imbalance()
        if self.data.label_noise or self.data.validation_share:
            key = "label_noise" if self.data.label_noise else "validation_share"
            told = "; validation_per_cell puts rows aside" if key == "validation_share" else ""
            raise ValueError(f"{key} is not for this track{told} - at data")
        together = [name for names in self.merged.values() for name in names]
        if self.merged and (len(self.merged) < 2 or len(set(together)) < len(together)):
            raise ValueError("merged needs two new classes or more, each of others - at merged")

    def _refuse_imbalance(self) -> None:
        if not self.domains:
            if self.imbalance.profile != "source":
                raise ValueError("a source with groups of its own needs profile 'source'")
            if self.held_out != "none" or self.validation_per_cell or self.tested != "all":
                raise ValueError(
                    "held_out, tested and validation_per_cell are for domains that are made of a "
                    "source; this one has groups of its own"
                )
            return
        if self.metadata is not None:
            raise ValueError("metadata tell groups; a protocol has those or domains")
        if self.imbalance.profile == "source":
            raise ValueError("profile 'source' is for a source with groups of its own")
        if self.held_out == "seed" and len(self.domains) < 3:
            raise ValueError("held_out leaves one domain to train on; state three or more")
        for domain in self.domains:
            if domain.tail == "own" and self.imbalance.class_order != "seed":
                raise ValueError("tail 'own' is drawn by the seed; say class_order = \"seed\"")
        self._refuse_counts()

    def _refuse_counts(self) -> None:
        stated = [domain.counts for domain in self.domains if domain.counts]
        if len({len(counts) for counts in stated}) > 1:
            raise ValueError("counts of two domains differ in their classes - at domains")
        if len(stated) == len(self.domains):
            sums = [sum(rows) for rows in zip(*stated, strict=True)]
            if self.imbalance.counts != sums:
                raise ValueError(
                    f"where every domain counts its rows, imbalance needs profile 'counts' with "
                    f"their sums, {sums}"
                )
