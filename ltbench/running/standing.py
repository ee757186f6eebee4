"""How things stand: the cells of a protocol, and the machine that would run them."""

from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from ltbench.results import records
from ltbench.results.records import Record
from ltbench.running.cell_locks import Claims
from ltbench.running.plan import Plan, estimate

FAULTS = ("failed", "timeout", "out-of-memory")


class Standing(Struct, frozen=True):
    """What became of the cells that a request asks for, and about how long the rest takes.

    `running` are in the hands of other runs, `left` have no record that counts and nobody at them.
    """

    protocol: str
    cells: int
    done: dict[str, int]
    faults: dict[str, str]
    running: list[str]
    left: int
    seconds: float


def standing_of(plan: Plan, jobs: int) -> Standing:
    """How far the cells of a plan have come."""
    claims = Claims(plan.results, plan.protocol.name)
    running = [str(cell) for cell in plan.todo if claims.taken(cell)]
    return Standing(
        protocol=plan.protocol.name,
        cells=len(plan.cells),
        done=dict(Counter(record.status for record in plan.done)),
        faults=dict(_faults(plan)),
        running=running,
        left=len(plan.todo) - len(running),
        seconds=round(estimate(plan, jobs), 1) if plan.todo else 0.0,
    )


def _faults(plan: Plan) -> Iterator[tuple[str, str]]:
    """The cells that ended badly, and why; a run tries them again."""
    for cell in plan.todo:
        name = cell.protocol.name
        path = records.path_of(plan.results, name, cell.recipe.text, cell.seed, cell.table)
        record = records.read(path) if path.exists() else None
        if isinstance(record, Record) and record.status in FAULTS:
            yield str(cell), f"{record.status}: {record.reason}"
