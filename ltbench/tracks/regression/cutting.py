"""How a source becomes rows with values: what is read, and what is trained and tested on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.augmentation.views import Views
from ltbench.contract.context import Rows
from ltbench.contract.track import Finder
from ltbench.datasets import Dataset, data_folder
from ltbench.datasets.columns import of_numbers
from ltbench.datasets.tables import WholeTable, read_file
from ltbench.errors import LTBenchError, UnknownName
from ltbench.tracks import classification, holding
from ltbench.tracks.classification import Parts
from ltbench.tracks.regression.contract import binned
from ltbench.tracks.regression.problem import Numbers, Values
from ltbench.training.engine import stream_seed

ENDINGS = (".parquet", ".csv")
INSIDE = 1e-3  # of a bin, which angles keep from its edges


def load(registry: Finder, protocol: Numbers) -> dict[str, Dataset]:
    """The protocol's one source. Rows have their values for labels; images to turn keep theirs.

    Raises:
        LTBenchError: it cannot be had, or has no values.
    """
    kind, source = protocol.values.kind, protocol.data.source
    if kind == "column":
        return {"": of_table(_table(registry, source), protocol.values, source)}
    (found,) = classification.load(registry, protocol).values()
    if kind == "names":
        return {"": of_names(found, protocol.values, source)}
    if len(found.train.shape) != 3:
        raise LTBenchError(
            f"a row of {source} is {list(found.train.shape)}; {protocol.name} turns images "
            "[C, H, W]"
        )
    return {"": found}


def _table(registry: Finder, source: str) -> WholeTable:
    """A table of the user's own, of a plugin, or of the data folder or one in it."""
    if source in registry.data:
        return read_file(Path(registry.data[source]))
    if source in registry.datasets_of_plugins():
        found = registry.dataset(source)()
        if not isinstance(found, WholeTable):
            raise LTBenchError(f"data set {source} is none of a table; its load() gives no frame")
        return found
    folders = [data_folder(), *sorted(data_folder().glob("*/"))]
    for path in (folder / f"{source}{ending}" for folder in folders for ending in ENDINGS):
        if path.is_file():
            return read_file(path)
    known = [*registry.data, *registry.datasets_of_plugins()]
    where = f"nor is it in {data_folder()}; --data {source}=FILE names one"
    raise UnknownName("table", source, known, where)


def of_table(table: WholeTable, values: Values, source: str) -> Dataset:
    """A table's rows: numbers as they are, words as one column for each, and the values.

    Raises:
        LTBenchError: there is no such column, or what is needed is missing.
    """
    frame = table.frame
    if values.column not in frame:
        raise UnknownName("column", str(values.column), list(frame), where=f"in table {source}")
    told = frame[values.column]
    if not of_numbers(told):
        word = next((str(one) for one in told if not _is_number(one)), "no number")
        raise LTBenchError(
            f"column {values.column!r} of {source} holds {word!r}; values are numbers"
        )
    columns = []
    for name in frame:
        if name == values.column:
            continue
        if frame[name].isna().any():
            row = int(frame[name].isna().to_numpy().argmax())
            raise LTBenchError(
                f"column {name!r} of {source} is empty in row {row}; fill it, or drop the row"
            )
        if of_numbers(frame[name]):
            columns.append(frame[name].to_numpy(dtype=np.float64)[:, None])
        else:
            words = frame[name].astype(str).to_numpy()
            columns.append((words[:, None] == np.unique(words)).astype(np.float64))
    if not columns:
        raise LTBenchError(f"{source} has no column beside {values.column!r} to tell it by")
    inputs = torch.from_numpy(np.concatenate(columns, axis=1)).float()
    numbers = torch.from_numpy(told.to_numpy(dtype=np.float64, na_value=np.nan).copy())
    _refuse_unfit(numbers, values, source)
    return Dataset(Rows(inputs, numbers), (), None, table.fingerprint, table.notes)


def of_names(dataset: Dataset, values: Values, source: str) -> Dataset:
    """The rows of a data set whose classes are called by numbers.

    Raises:
        LTBenchError: one is not.
    """
    wrong = next((name for name in dataset.classes if not _is_number(name)), None)
    if wrong is not None:
        raise LTBenchError(f"class {wrong!r} of {source} is called by no number, so has no value")
    numbers = torch.tensor([float(name) for name in dataset.classes], dtype=torch.float64)

    def valued(rows: Rows) -> Rows:
        _refuse_unfit(numbers[rows.labels], values, source)
        return replace(rows, labels=numbers[rows.labels])

    test = None if dataset.test is None else valued(dataset.test)
    told = dataset.fingerprint, dataset.notes
    return Dataset(valued(dataset.train), (), test, *told)


def _is_number(word: Any) -> bool:
    try:
        float(word)
    except (TypeError, ValueError):
        return False
    return True


def _refuse_unfit(numbers: Tensor, values: Values, source: str) -> None:
    """Refuses values [N] that are none, all alike, or outside of the bins."""
    wrong = ~torch.isfinite(numbers)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise LTBenchError(
            f"row {row} of {source} has the value {numbers[row].item()}, no finite number (of "
            f"{int(wrong.sum())} such rows); mend it, or drop the row"
        )
    if (numbers == numbers[0]).all():
        raise LTBenchError(
            f"all {len(numbers):,} values of {source} are {numbers[0].item():g}; nothing is to be "
            "learned of a constant"
        )
    outside = (numbers < values.low) | (numbers > values.high)
    if outside.any():
        row = int(outside.nonzero()[0])
        raise LTBenchError(
            f"row {row} of {source} has the value {numbers[row].item():g} {values.unit}, outside "
            f"of the bins from {values.low:g} to {values.high:g}; widen them at values"
        )


def cut(protocol: Numbers, dataset: Dataset, seed: int) -> Parts:
    """Cuts the data into training rows, validation rows out of those, and test rows.

    Labels are values, float64, in the protocol's unit; `class_counts` are training rows of bins.

    Raises:
        LTBenchError: the data are not the protocol's, have too few rows, or fill one bin alone.
    """
    data = protocol.data
    if data.fingerprint not in ("any", dataset.fingerprint):
        raise LTBenchError(
            f"data set {data.source} has fingerprint {dataset.fingerprint}, "
            f"but {protocol.name} is fixed to {data.fingerprint}"
        )
    made = _turned if protocol.values.kind == "rotation" else _as_it_is
    train, test = made(protocol, dataset, seed)
    bins = binned(train.labels, protocol.values.edges)
    last = _last_of_each(bins, protocol.values.bins, data.validation_share or 0)
    aside = train[last] if data.validation_share else None
    train = train[~last]
    counts = bins[~last].bincount(minlength=protocol.values.bins).tolist()
    _refuse_one_bin(protocol, counts)
    return Parts(train, aside, lambda: test, counts)


def _last_of_each(bins: Tensor, number: int, share: float) -> Tensor:
    """Which rows [N], bin by bin, are the last of theirs, so large a share of it."""
    last = torch.zeros(len(bins), dtype=torch.bool)
    for b in range(number if share else 0):
        here = (bins == b).nonzero().flatten()
        last[here[len(here) - int(len(here) * share) :]] = True
    return last


def _refuse_one_bin(protocol: Numbers, counts: Sequence[int]) -> None:
    filled = [b for b, rows in enumerate(counts) if rows]
    if len(filled) < 2:
        edges, values = protocol.values.edges.tolist(), protocol.values
        which = f"bin {filled[0]} ({edges[filled[0]]:g} to {edges[filled[0] + 1]:g})"
        raise LTBenchError(
            f"all training rows of {protocol.name} lie in {which} of {values.bins}; bins tell "
            "nothing apart, so state another low, high or number of them at values"
        )


def _chance(protocol: Numbers, seed: int, stream: str) -> torch.Generator:
    drawn = seed if protocol.imbalance.draw == "seed" else 0
    return torch.Generator().manual_seed(stream_seed(drawn, stream))


def _turned(protocol: Numbers, dataset: Dataset, seed: int) -> tuple[Rows, Rows]:
    """Training and test images, each turned by an angle of its own and used once.

    Training angles are drawn within their bin, test angles stand evenly from `low` to `high`.
    """
    values, data = protocol.values, protocol.data
    if data.test_per_class is None:
        raise LTBenchError(f"{protocol.name}: angles are drawn; state test_per_class at data")
    counts = protocol.imbalance.class_counts([0] * values.bins)
    if len(counts) != values.bins:
        raise LTBenchError(f"{protocol.name} counts {len(counts)} bins, but has {values.bins}")
    if protocol.imbalance.class_order == "seed" and seed % 2:
        counts = counts[::-1]
    tested = data.test_per_class * values.bins
    own = dataset.test is None
    from_train = sum(counts) + (tested if own else 0)
    for rows, wanted in ((dataset.train, from_train), (dataset.test, 0 if own else tested)):
        if rows is not None and len(rows) < wanted:
            raise LTBenchError(
                f"{data.source} has {len(rows)} images; {protocol.name} turns {wanted} of them, "
                "each once"
            )
    order = torch.randperm(len(dataset.train), generator=_chance(protocol, seed, "images"))
    width = (values.high - values.low) / values.bins
    bins = torch.arange(values.bins).repeat_interleave(torch.tensor(counts))
    drawn = torch.rand(len(bins), generator=_chance(protocol, seed, "angles"), dtype=torch.float64)
    angles = values.low + (bins + drawn.clamp(INSIDE, 1 - INSIDE)) * width
    even = (torch.arange(tested, dtype=torch.float64) + 0.5) / tested
    even = values.low + even * (values.high - values.low)
    chosen, testing = order[: len(bins)], order[len(bins) : len(bins) + tested]
    source = dataset.train
    if dataset.test is not None:
        source = dataset.test
        testing = torch.randperm(len(source), generator=_chance(protocol, seed, "test"))[:tested]
    return (
        Rows(turned(dataset.train.inputs_at(chosen), angles), angles),
        Rows(turned(source.inputs_at(testing), even), even),
    )


def turned(images: Tensor, degrees: Tensor) -> Tensor:
    """Images [N, C, H, W] as pixels in 0..1, each turned to the left by its degrees [N].

    Pixels are bilinear, and black outside.
    """
    images = Views().pixels(images)
    angles = torch.deg2rad(degrees).to(images)
    sine, cosine, zero = angles.sin(), angles.cos(), torch.zeros_like(angles)
    rows = [torch.stack([cosine, -sine, zero], 1), torch.stack([sine, cosine, zero], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _as_it_is(protocol: Numbers, dataset: Dataset, seed: int) -> tuple[Rows, Rows]:
    """Training and test rows of a source that has values; both stand bin after bin."""
    values, data, imbalance = protocol.values, protocol.data, protocol.imbalance
    if (dataset.test is None) == (data.test_per_class is None):
        has = "no test split" if dataset.test is None else "a test split of its own"
        raise LTBenchError(f"{protocol.name}: {data.source} has {has}; mend test_per_class")
    holding.refuse_broken(f"data set {data.source}", holding.broken(dataset, data.holds))
    bins = binned(dataset.train.labels, values.edges)
    order = torch.randperm(len(bins), generator=_chance(protocol, seed, "rows"))
    lists = [order[bins[order] == b] for b in range(values.bins)]
    held = [min(len(rows) // 3, data.test_per_class or 0) for rows in lists]
    left = [len(rows) - rest for rows, rest in zip(lists, held, strict=True)]
    counts = imbalance.class_counts(left)
    if len(counts) != values.bins:
        raise LTBenchError(f"{protocol.name} counts {len(counts)} bins, but has {values.bins}")
    if imbalance.class_order == "seed" and seed % 2:
        counts = counts[::-1]
    for b, (there, wanted) in enumerate(zip(left, counts, strict=True)):
        if there < wanted:
            raise LTBenchError(
                f"bin {b} of {data.source} has {there} rows beside those to test on; "
                f"{protocol.name} asks for {wanted}"
            )
    pairs = [*zip(lists, held, counts, strict=True)]
    train = dataset.train[torch.cat([rows[rest : rest + n] for rows, rest, n in pairs])]
    if dataset.test is not None:
        return train, dataset.test
    return train, dataset.train[torch.cat([rows[:rest] for rows, rest, _ in pairs])]
