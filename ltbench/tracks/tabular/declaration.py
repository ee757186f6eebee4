"""The declaration of the track of tables: what it measures, and what runs its cells."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from ltbench.contract.parts import LEARNERS
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Board,
    Check,
    Followed,
    Proposal,
    Track,
)
from ltbench.results.records import Record
from ltbench.tracks.tabular.folds import FOLDS
from ltbench.tracks.tabular.kept import measured
from ltbench.tracks.tabular.measures import MEASURES, NAMES
from ltbench.tracks.tabular.parts import Part, Parts, ended, mean, of_folds, parts_of, told
from ltbench.tracks.tabular.problem import FLOOR, Tabular
from ltbench.tracks.tabular.track import answer, divide, load, plan, seconds

if TYPE_CHECKING:
    pass


class TabularTrack(Track[Tabular]):
    """Learners are fitted to tables, with methods around them, in two stratified folds a seed."""

    name = "tabular"
    made_in = "ltbench.tracks.tabular.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "tabular-embedded"
    problem = Tabular
    sheets = FOLDS
    needs = frozenset({"two_classes", "ordered"})
    floor = FLOOR
    tunes = True
    shared = 1.0  # rows to test over rows to train, of two folds
    doing = "fitting"
    unit = "plain learners"
    measures = MEASURES

    def propose(self, name: str, path: Path, target: str | None = None) -> Proposal | None:
        from ltbench.tracks.tabular.proposal import propose

        return propose(name, path, target)

    load = staticmethod(load)
    plan = staticmethod(plan)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)

    def modules(self, protocol: Tabular) -> tuple[str, ...]:
        brought = LEARNERS.modules(protocol.learners)
        return (*super().modules(protocol), "ltbench.models.mlp", *brought)  # one learner is mlp

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.tabular.checks import THOROUGH

        return THOROUGH

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.tabular.checks import checks

        return checks(recipe)

    def compare(self, protocol: Tabular, records: Sequence[Record]) -> Board:
        from ltbench.tracks.tabular.comparison import compare
        from ltbench.tracks.tabular.markdown import frame, markdown
        from ltbench.tracks.tabular.overview import overview

        content = compare(protocol, records)
        written = partial(markdown, content), partial(frame, content)
        return Board(content, *written, lambda found: overview(content))

    def refused(self, record: Record) -> str | None:
        try:
            parts_of(record)
        except msgspec.ValidationError as error:
            return f"its parts are none ({str(error).replace('`', '')})"
        return None

    def judged(self, protocol: Tabular, record: Record) -> list[float | None]:
        """The mean over learners in each fold, whose rows to score the other fits."""
        first = self.shown(protocol)[0]
        parts = [part for part in parts_of(record).values() if part.status == "ok"]
        return [mean([part.folds[k].get(first) for part in parts]) for k in range(FOLDS)]

    def joined(self, records: Sequence[Record]) -> Record:
        """The cell whose first fold is that of the first record, and so on."""
        if all(record is records[0] for record in records):
            return records[0]
        parts = of_folds(records)
        status, reason = ended(parts)
        details = msgspec.to_builtins(Parts(parts))
        return structs.replace(
            records[0], **told(parts), details=details, status=status, reason=reason
        )

    def shown(self, protocol: Tabular) -> list[str]:
        ranking = protocol.scoring.ranking
        first = ranking if ranking in NAMES else NAMES[0]
        return [first, *(name for name in NAMES if name != first)]

    def decided(self, record: Record, arrays: Arrays) -> None:
        """Learners decide apart, and no label of a row is that of all."""

    def measured(self, protocol: Tabular, record: Record, arrays: Arrays) -> Followed:
        return measured(protocol, record, arrays)

    def carried(self, old: Mapping[str, Any], protocol: Tabular | None) -> dict[str, Any] | None:
        parts = msgspec.convert(old.get("parts", {}), dict[str, Part])
        if not (parts or old.get("table")):
            return None
        details = msgspec.to_builtins(Parts(parts)) if parts else {}
        return {**told(parts), "details": details}
