"""The protocols of compression, and what they grant a method."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Budget, Classification, Table

AtLeastOne = Annotated[int, Meta(ge=1)]


class Compressing(Table, frozen=True):
    """How small the network is to become, and how many rows that may take.

    Of the filters of each layer that can be pruned the share `keep` stays. `rows` are those of each
    class on average; the largest class has `factor` times the smallest's share. Which class that is
    the labels decide, or the seed. One `teacher` is trained for all cells ("fixed"), or one a seed.
    """

    keep: Annotated[float, Meta(gt=0, le=1)]
    rows: AtLeastOne
    factor: Annotated[float, Meta(ge=1)]
    class_order: Literal["label", "seed"]
    teacher: Literal["fixed", "seed"]

    def class_counts(self, num_classes: int) -> list[int]:
        """The long-tailed rows of each class, from the largest to the smallest.

        They add up to `rows` times the classes: exponential shares, cut to whole rows, at least one
        of each class, and what that leaves over or lacks is the largest's.
        """
        total, last = self.rows * num_classes, max(num_classes - 1, 1)
        shares = [self.factor ** (-rank / last) for rank in range(num_classes)]
        counts = [max(1, int(total * share / sum(shares))) for share in shares]
        counts[0] += total - sum(counts)
        if counts != sorted(counts, reverse=True):
            raise LTBenchError(
                f"{total} rows are too few for {num_classes} classes at factor {self.factor:g}: "
                "with one row of each, too few are left for the largest; raise rows"
            )
        return counts


class Pool(Table, frozen=True):
    """Images of other things than the classes: where they come from, and a hash of their bytes.

    `source` is a data set, "photographs" for patches of the two that scikit-learn ships, or
    "noise" for uniform bytes; `images` is how many are taken.
    """

    source: str
    fingerprint: str
    images: AtLeastOne


class Compression(Classification, frozen=True, kw_only=True, tag="compression"):
    """A trained network is made smaller with a few imbalanced rows.

    `teacher` is the training of that network on all rows of `imbalance`, `budget` the one in which
    the smaller network recovers. `ood` is the pool for methods that ask for one.
    """

    compressing: Compressing
    teacher: Budget
    ood: Pool


def by_rank(counts: Sequence[int], order: Sequence[int]) -> list[int]:
    """Counts by rank as counts by class; `order` are the classes from the largest down."""
    of_class = dict(zip(order, counts, strict=True))
    return [of_class[c] for c in range(len(counts))]
