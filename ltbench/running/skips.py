"""A skip says that a recipe does not fit a protocol, whatever the seed; any other is a failure."""

from collections.abc import Sequence

from msgspec import structs

from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running.plan import Plan

NOT_EVERYWHERE = "skipped with this seed, but not with others, which counts as a failure: "


def settled(plan: Plan, made: Sequence[Record]) -> list[Record]:
    """The records that a run made, where skips of some seeds alone have become failures.

    They are written anew, and earlier ones of which that holds come with them.

    Raises:
        LTBenchError: a record cannot be written.
    """
    every = [*plan.done, *made]
    ran = {(record.recipe, record.table) for record in every if record.status == "ok"}

    def settle(record: Record) -> Record:
        if record.status != "skipped" or (record.recipe, record.table) not in ran:
            return record
        failed = structs.replace(record, status="failed", reason=NOT_EVERYWHERE + record.reason)
        return records.write(plan.results, failed, None)

    before = [now for record in plan.done if (now := settle(record)) is not record]
    return [*map(settle, made), *before]
