"""A protocol that fits a table of a user's own."""

from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ltbench.contract.track import Proposal
from ltbench.datasets import duplicates, tables
from ltbench.datasets.amounts import MISSING
from ltbench.datasets.columns import of_numbers, of_words, tidied, understood
from ltbench.datasets.tables import WholeTable
from ltbench.errors import LTBenchError
from ltbench.protocols.writing import toml
from ltbench.tracks.tabular.features import IDENTIFIER, MANY_WORDS
from ltbench.tracks.tabular.problem import TableData
from ltbench.tracks.tabular.tables import MANY_NUMBERS, TableRows, load

if TYPE_CHECKING:
    import pandas as pd

    Series: TypeAlias = pd.Series[Any]

TEMPLATE = Path(__file__).parent / "scaffolds" / "own_data.toml.txt"
TARGETS = ("target", "class", "label", "labels", "y", "outcome", "category")
GAPS = MISSING | {"?"}  # what stands for a missing value where it is among words
ROWS_OF_AMOUNTS = 5  # for each whole number of a target; where there are fewer, they are amounts
NEARLY_ALL = 0.9  # of rows that differ, in a column of identifiers or texts
MOST_ROWS = 5_000  # that are kept, for a board in minutes
LONG = 10.0  # a factor from which on balanced ensembles are worth a row
NEIGHBOURS = 12  # rows of a class, of which a fold leaves SMOTE enough


def propose(name: str, path: Path, target: str | None) -> Proposal | None:
    """A protocol for a table in a file.

    Raises:
        LTBenchError: it cannot be read, or the target is no column of classes.
    """
    if not tables.is_table(path):
        return None
    table = tables.read_file(path)
    column, rule = _target(table, target)
    _refuse_no_classes(column, table)
    missing = _missing(table, column)
    drop, why = _dropped(table, column)
    limit = MOST_ROWS if len(table.frame) > MOST_ROWS else None
    data = TableData(
        name, table.fingerprint, target=column, drop=tuple(drop), missing=tuple(missing) or None
    )
    whole = load(name, data, {name: path})
    counts = np.bincount(whole.labels, minlength=len(whole.classes))
    factor = counts.max() / counts.min()
    optional = [f"# {why}\ndrop = {toml(drop)}"] if drop else []
    if missing:
        optional.append(f"# words that stand for a missing value\nmissing = {toml(missing)}")
    if limit:
        why_limit = "of each class its share is kept; more rows take longer"
        optional.append(f"# {why_limit}\nrows = {limit}")
    values = {
        "name": toml(name),
        "name_as_key": name,
        "description": toml(f"{len(whole)} rows of {len(whole.classes)} classes."),
        "recipes": toml(_recipes(counts.tolist())),
        "regime": f"{counts.min()} to {counts.max()} rows a class, factor {factor:.3g}",
        "fingerprint": toml(table.fingerprint),
        "target": toml(column),
        "target_rule": rule,
        "optional": "\n".join(optional),
    }
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)
    return Proposal(_seen(table, whole, f"{column}, {rule}", column, counts.tolist()), text)


def _target(table: WholeTable, target: str | None) -> tuple[str, str]:
    """The column of classes, and by which rule it is that."""
    columns = list(table.frame.columns)
    if target is not None:
        if target not in columns:
            raise LTBenchError(f"--target {target!r} is no column; there are: {', '.join(columns)}")
        return target, "as --target says"
    for usual in TARGETS:
        for title in columns:
            if title.casefold() == usual:
                return title, "by its name; --target names another"
    return columns[-1], "the last column, as none is called target or class; --target names another"


def _refuse_no_classes(title: str, table: WholeTable) -> None:
    """Refuses a target that is no column of classes.

    Raises:
        LTBenchError: it is of real numbers, of dates, or of very many words.
    """
    column = table.frame[title]
    different = column.nunique()
    way_out = "name a column of classes with --target"
    if of_numbers(column):
        fractions = bool((column.dropna() % 1 != 0).any())
        if different > MANY_NUMBERS and (fractions or different > len(column) / ROWS_OF_AMOUNTS):
            raise LTBenchError(
                f"column {title!r} holds {different} different numbers; is the number "
                f"itself meant? ltbench compares classifiers: {way_out}, or cut them by edges in a "
                "protocol"
            )
        return
    if of_words(column) and different > 2 and _is_of_dates(title, column, table):
        raise LTBenchError(f"column {title!r} holds dates, which are no classes; {way_out}")
    if different > MANY_WORDS or different > NEARLY_ALL * len(column):
        raise LTBenchError(
            f"column {title!r} holds {different:,} different words in {len(column):,} rows, which "
            f"are no classes; {way_out}"
        )


def _is_of_dates(title: str, column: "Series", table: WholeTable) -> bool:
    try:
        return "dates" in understood(title, tidied(column)[0], table.decimal or ".")[1]
    except LTBenchError as error:
        return "dates" in str(error)


def _missing(table: WholeTable, target: str) -> list[str]:
    """The words that stand for a missing value in columns of words, the target aside."""
    found: set[str] = set()
    for title in table.frame.columns:
        if title != target and of_words(table.frame[title]):
            found |= GAPS.intersection(tidied(table.frame[title])[0].dropna().unique())
    return sorted(found)


def _dropped(table: WholeTable, target: str) -> tuple[list[str], str]:
    """The columns that number or name the rows, of which a learner cannot learn, and why."""
    frame = table.frame
    titles = []
    for title in frame.columns:
        different = frame[title].nunique()
        names = different > NEARLY_ALL * len(frame)
        texts = different > MANY_WORDS and names and of_words(frame[title])
        if title != target and (texts or (names and IDENTIFIER.search(title))):
            titles.append(title)
    return titles, "columns that name or number the rows, or are texts: other rows have others"


def _recipes(counts: list[int]) -> list[str]:
    """What is worth trying for class counts [C]; the floor of the track always."""
    recipes = ["erm", "class-weights", "threshold"]
    if max(counts) == min(counts):
        return recipes
    recipes += ["smote", "smote+threshold"] if min(counts) >= NEIGHBOURS else ["oversampling"]
    return [*recipes, *(["self-paced-ensemble"] if max(counts) / min(counts) >= LONG else [])]


def _seen(
    table: WholeTable, whole: TableRows, chosen: str, target: str, counts: list[int]
) -> dict[str, Any]:
    frame = table.frame
    gaps = {title: int(n) for title, n in whole.features.isna().sum().items() if n}
    words = whole.features.select_dtypes("category")
    keys = list(frame.drop(columns=target).astype(str).itertuples(index=False, name=None))
    twins = duplicates.between_classes(keys, whole.labels.tolist())
    return {
        "kind": "table",
        "rows": len(frame),
        "columns": f"{len(frame.columns)}; to learn from: {whole.numbers.shape[1]} of numbers, "
        f"{words.shape[1]} of words",
        "target": chosen,
        "classes": dict(zip(whole.classes, counts, strict=True)),
        "factor": f"{max(counts) / min(counts):.3g}",
        "missing": gaps or "none",
        "in two classes": duplicates.told(twins, whole.classes, whole.labels.tolist()),
        "notes": [*_doubts(table, target), *whole.notes],
    }


def _doubts(table: WholeTable, target: str) -> list[str]:
    """Whether a target of whole numbers may be of amounts after all."""
    column = table.frame[target]
    if not of_numbers(column) or column.nunique() <= MANY_NUMBERS:
        return []
    return [f"{column.nunique()} whole numbers are classes here; if they are amounts, name another"]
