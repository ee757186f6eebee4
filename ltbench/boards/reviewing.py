"""What a change is worth: its methods checked, their rows run, what moved, and what comes again."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ltbench.boards import comparing
from ltbench.boards.comparing import Bound, compare
from ltbench.boards.reading import read
from ltbench.boards.submitting import examine
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.registry import Registry
from ltbench.rendering.cells import code, plain
from ltbench.results import records
from ltbench.results.records import Record
from ltbench.results.submissions import STATED
from ltbench.results.verifications import Verification
from ltbench.running.checking import checked
from ltbench.running.execute import execute
from ltbench.running.plan import plan
from ltbench.running.processes import apart
from ltbench.running.repeating import verify
from ltbench.running.skips import settled
from ltbench.running.touched import Change, rows_with
from ltbench.texts import line

MARK = "<!-- ltbench review -->"
"""The first line of what a review says, by which its comment is found again."""

OUTCOMES = {"same": "the same bits", "close": "within the tolerance", "different": "**different**"}

Tell = Callable[[str], None]


@dataclass
class Review:
    """What is found of a change: `blocks` of Markdown, and what `fails` of it, in words."""

    fails: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def section(self, title: str, lines: Sequence[str]) -> None:
        if lines:
            self.blocks += [f"## {title}", "\n".join(lines)]

    def markdown(self) -> str:
        verdict = "Nothing fails."
        if self.fails:
            verdict = "\n".join(["**This fails:**", "", *(f"- {plain(one)}" for one in self.fails)])
        nothing = [] if self.blocks else ["It touches no method, no protocol and no board."]
        parts = [MARK, "# What this change does", verdict, *self.blocks, *nothing]
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Reviewer:
    """How changes are reviewed: on which `boards`, in which `results`, within which `bounds`.

    New rows go to `into`, a copy of the results; of each board a `sample` of cells is run again.
    """

    registry: Registry
    boards: Sequence[str]
    results: Path
    into: Path
    bounds: Sequence[Bound] = ()
    sample: int = 3
    jobs: int = 1
    tell: Tell = print

    def review(self, change: Change, before: Path | None) -> Review:
        """What a change does, beside the results that stood `before`, if there were any.

        Raises:
            LTBenchError: a board is of no protocol, or its data cannot be had.
        """
        found = Review()
        protocols = [self.registry.protocol(name) for name in self.boards]
        methods = change.methods(self.registry)
        self._methods(found, change, methods)
        self._protocols(found, change)
        for protocol in protocols:
            self._copied(protocol.name)
            rows = self._rows(found, protocol, methods)
            committed = change.recipes(self.results, protocol.name)
            if rows or committed:
                self._moved(found, protocol, before)
            if rows or committed or change.runs(self.registry, protocol):
                self._again(found, protocol, committed)
        self._elsewhere(found, change)
        self._submissions(found, change)
        return found

    def _methods(self, found: Review, change: Change, methods: Sequence[str]) -> None:
        """Every method that is touched is put through the shared checks, decoys among them."""
        lines = []
        for name in methods:
            self.tell(f"checking {name}")
            report = checked(self.registry.recipe(name), self.registry, thorough=True)
            bad = [one for one in report.findings if one.status == "failed"]
            good = sum(one.status == "passed" for one in report.findings)
            lines.append(f"- {code(name)}: {'**FAILED**' if bad else 'ok'}, {good} checks passed")
            lines += [f"  - {plain(one.check)}: {plain(line(one.text))}" for one in bad]
            if bad:
                found.fails.append(f"{name} fails {_many(len(bad), 'check')}")
        known = {file.resolve() for one in self.registry.plugins for file in one.files}
        for file in sorted(change.files - known):
            if file.suffix == ".py" and file.is_file() and self._registers(change, file):
                name = file.relative_to(change.root).as_posix()
                lines.append(f"- {code(name)}: **no entry point names it**, so it is not installed")
                found.fails.append(f"{name} is named by no entry point of pyproject.toml")
        own = {
            (one.name, one.package)
            for one in self.registry.plugins
            if any(file.resolve().is_relative_to(change.root) for file in one.files)
        }
        for one in self.registry.left_out:
            if (one.plugin, one.package) not in own:
                continue
            lines.append(f"- {plain(str(one))}")
            found.fails.append(str(one))
        found.section("Methods", lines)

    @staticmethod
    def _registers(change: Change, file: Path) -> bool:
        parts = file.relative_to(change.root).parts
        text = file.read_text(encoding="utf-8", errors="replace")
        return parts[0] == "plugins" and "@hookimpl" in text

    def _protocols(self, found: Review, change: Change) -> None:
        """Every protocol that is touched can be run, and its records still count or are told."""
        lines = []
        for name in change.protocols(self.registry):
            self.tell(f"planning {name}")
            try:
                protocol = self.registry.protocol(name)
                every = records.read_all(self.results, name)
                lost = sum(isinstance(r, Record) and not protocol.counts(r.hash) for r in every)
                planned = plan(self.registry, name, results=self.into / "none", mixed=True)
            except LTBenchError as error:
                lines.append(f"- {code(name)}: **cannot be run here**: {plain(line(error))}")
                found.fails.append(f"protocol {name} cannot be run: {line(error)}")
                continue
            told = f"hash `{protocol.hash}`, {len(planned.cells)} cells"
            if lost:
                told += f"; **{_many(lost, 'record')} of another hash no longer count**"
                found.fails.append(f"{lost} records of {name} no longer count; run it again")
            lines.append(f"- {code(name)}: {told}")
        found.section("Protocols", lines)

    def _copied(self, protocol: str) -> None:
        here, there = self.results / protocol, self.into / protocol
        for part in ("records", "submissions"):
            if (here / part).is_dir():
                shutil.copytree(here / part, there / part)

    def _rows(self, found: Review, protocol: Protocol, methods: Sequence[str]) -> list[str]:
        """Runs the rows of a board that hold a touched method, and a row of each that has none."""
        every = records.read_all(self.into, protocol.name)
        there = sorted({one.recipe for one in every if isinstance(one, Record)})
        rows = rows_with(methods, there, self.registry)
        held = {one.name for text in rows for one in self.registry.recipe(text).methods}
        rows += [name for name in methods if name not in held]
        if not rows:
            return []
        self.tell(f"running {', '.join(rows)} on {protocol.name}")
        planned = plan(
            self.registry, protocol.name, rows, results=self.into, mixed=True, sealed=True
        )
        made = [e.ended for e in execute(planned, self.jobs) if e.ended is not None]
        wanted = {self.registry.recipe(text).text for text in rows}
        ended = [one for one in settled(planned, made) if one.recipe in wanted]
        lines = []
        for text in sorted(wanted):
            of_row = [one for one in ended if one.recipe == text]
            count = Counter(one.status for one in of_row)
            for status in sorted(count.keys() - {"ok"}):
                why = next(one.reason for one in of_row if one.status == status)
                lines.append(f"- {code(text)}: {count[status]} {status}: {plain(line(why))}")
                if status != "skipped":
                    found.fails.append(f"{text} on {protocol.name}: {count[status]} {status}")
        table = apart(lambda: [*self._table(protocol, wanted)])  # it reads labels
        lines += ["", *table] if lines else table
        found.section(f"Rows on {protocol.name}", lines)
        finished = {one.recipe for one in ended if one.status != "skipped"}
        return [text for text in sorted(wanted) if text in finished]

    def _table(self, protocol: Protocol, rows: set[str]) -> Iterator[str]:
        """The lines of a board that are of some rows, and of the one they are set against."""
        board = read(self.registry, protocol, self.into, mixed=True).board.markdown()
        reference = self.registry.track(protocol.track).reference
        shown = [code(text) for text in (*sorted(rows), reference)]
        lines = board.splitlines()
        first = next((k for k, text in enumerate(lines) if text.startswith("|")), len(lines))
        for k, text in enumerate(lines[first:]):
            if not text.startswith("|"):
                break
            if k < 2 or any(f"| {one} " in text for one in shown):
                yield text

    def _moved(self, found: Review, protocol: Protocol, before: Path | None) -> None:
        if before is None or not any((before / protocol.name).glob("records/*/*.json")):
            return
        names, bounds = [protocol.name], self._bounds(protocol)
        compared, rejected = apart(lambda: compare(self.registry, before, self.into, names, bounds))
        title, told = comparing.markdown(compared).split("\n", 1)
        found.section(f"What moved on {title.removeprefix('## ')}", [told.strip()])
        for row in (row for one in compared for row in one.changed if row.failed):
            found.fails.append(f"{row.recipe} on {protocol.name} is beyond {', '.join(row.failed)}")
        for one in rejected:
            found.fails.append(str(one))

    def _bounds(self, protocol: Protocol) -> list[Bound]:
        """The bounds on measures that a protocol's track has, and on costs."""
        known = {one.name for one in self.registry.track(protocol.track).measures}
        return [one for one in self.bounds if one.measure in known | {comparing.COST}]

    def _again(self, found: Review, protocol: Protocol, committed: set[str]) -> None:
        """Runs a few cells again: of rows whose committed records differ, else of the board."""
        every = records.read_all(self.into, protocol.name)
        finished = [r for r in every if isinstance(r, Record) and r.status == "ok"]
        chosen = sorted({r.recipe for r in finished if records.folder_of(r.recipe) in committed})
        if not finished or not self.sample:
            return
        self.tell(f"running {self.sample} cells of {protocol.name} again")
        lines = []
        told = verify(
            self.registry,
            protocol.name,
            chosen,
            sample=self.sample,
            by="ci",
            results=self.into,
            jobs=self.jobs,
        )
        for one in told:
            if not isinstance(one, Verification):
                lines.append(f"- {plain(one)}")
                found.fails.append(one)
                continue
            why = f" ({plain(one.what)})" if one.what else ""
            lines.append(f"- {code(one.recipe)} seed {one.seed}: {OUTCOMES[one.outcome]}{why}")
            if one.outcome == "different":
                cell = f"{one.recipe} seed {one.seed} of {protocol.name}"
                found.fails.append(f"{cell} gives something else when it is run again")
        found.section(f"Run again on {protocol.name}", lines)

    def _submissions(self, found: Review, change: Change) -> None:
        """Submissions that come with the change are examined."""
        lines = []
        for file in sorted(change.files):
            if file.name != STATED or not file.exists():
                continue
            name = file.parent.relative_to(change.root).as_posix()
            self.tell(f"examining {name}")
            examined = examine(self.registry, file.parent)
            told = f"refused, {_many(len(examined.refusals), 'time')} over"
            lines.append(f"- {code(name)}: {f'**{told}**' if examined.refusals else 'ok'}")
            lines += [f"  - {plain(one)}" for one in examined.refusals]
            if examined.refusals:
                found.fails.append(f"submission {name} is refused")
        found.section("Submissions", lines)

    def _elsewhere(self, found: Review, change: Change) -> None:
        """Records that differ on boards that are not run here."""
        lines = [
            f"- {code(name)}: its records differ and were not run again here; "
            f"{code(f'ltbench verify {name}')} does"
            for name in change.boards(self.results)
            if name not in self.boards
        ]
        found.section("Boards that were not run", lines)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
