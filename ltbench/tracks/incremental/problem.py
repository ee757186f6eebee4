"""The protocols of class-incremental learning."""

from typing import Annotated, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Budget, Classification, Table

Rows = Annotated[int, Meta(ge=0)]


class Memory(Table, frozen=True):
    """How many rows of earlier tasks may be kept: `rows` in all, or `per_class` of each known one.

    Without either none are.
    """

    rows: Rows = 0
    per_class: Rows = 0

    def __post_init__(self) -> None:
        if self.rows and self.per_class:
            raise ValueError("state rows in all or per_class, and not both")

    def room(self, known: int) -> int:
        """The rows that memory may hold once so many classes are known."""
        return self.rows or self.per_class * known


class Incremental(Classification, frozen=True, kw_only=True, tag="incremental"):
    """Classes arrive in tasks, and rows of earlier ones are gone but for a small memory.

    Of the `tasks` the first has `first_classes`, or as many as the others; classes are dealt out as
    evenly as can be. They arrive in an order that the seed draws, whatever their size, or the
    `largest` first. `budget` is that of each task, `first_budget` the first one's, where that
    differs.
    """

    tasks: AtLeastOne
    first_classes: AtLeastOne | None = None
    arrival: Literal["seed", "largest"] = "seed"
    memory: Memory = Memory()
    first_budget: Budget | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("label_noise", "validation_share"):
            if getattr(self.data, key):
                raise ValueError(
                    f"{key} is not for this track; a method puts rows aside out of those that it "
                    "is given - at data"
                    if key == "validation_share"
                    else f"{key} is not for this track - at data"
                )
        if self.tasks == 1 and self.first_classes is not None:
            raise ValueError("first_classes needs two tasks or more")

    def budget_of(self, task: int) -> Budget:
        """The training of a task, counted from 0."""
        return self.first_budget if task == 0 and self.first_budget else self.budget
