"""A protocol that fits images, or rows of numbers, of a user's own."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

import torch
from torch import Tensor

from ltbench.contract.track import Proposal
from ltbench.datasets import Dataset, duplicates, files, tables
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Budget, Compute, Data, Imbalance, Scoring
from ltbench.protocols.writing import shot_borders, shot_groups, toml
from ltbench.tracks import classification
from ltbench.tracks.recognition.problem import Recognition

TEMPLATE = Path(__file__).parent / "scaffolds" / "own_data.toml.txt"
SIDE = 64  # pixels, to which larger images are cut
WIDTHS = (16, 32, 64, 128)  # of the blocks of the network, which halve an image each
SMALL_SIDE, HALVED = 32, 8  # pixels up to which three blocks do, and which they need
TESTED, MOST_TESTED = 3, 50  # of the smallest class a third is tested on, but no more rows
SECONDS, SECONDS_OF_LARGE = 20.0, 60.0  # of plain training in a cell, and on larger images
FEWEST_EPOCHS, MOST_EPOCHS = 10, 100
LONG = 10.0  # a factor from which on stages and margins are worth a row
SMALL = 20  # rows of the smallest class, of which fewer are worth repeating


def propose(name: str, path: Path) -> Proposal | None:
    """A protocol for class folders, list files, parquet files of images, or arrays.

    Raises:
        LTBenchError: they cannot be read, or a class has too few rows.
    """
    if tables.is_table(path):
        return None
    found = files.sizes(path)
    size = _size(sorted(found.elements()))
    dataset = files.read(path, size)
    counts = dataset.class_counts
    tested = _tested(dataset)
    left = [n - (tested or 0) for n in counts]
    factor = max(left) / min(left)
    network = _network(dataset)
    protocol = _protocol(name, dataset, size, tested, left, network)
    each = classification.seconds(protocol, dataset, torch.device("cpu"))
    wanted = SECONDS_OF_LARGE if _large(dataset) else SECONDS
    epochs = int(min(max(wanted / max(each, 1e-6), FEWEST_EPOCHS), MOST_EPOCHS))
    borders = shot_borders(left)
    groups = shot_groups(left, borders)
    values = {
        "name": toml(name),
        "description": toml(f"{len(dataset.train)} rows of {len(counts)} classes, as they are."),
        "recipes": toml(_recipes(left)),
        "regime": f"{min(left)} to {max(left)} rows a class to train on, factor {factor:.3g}",
        "fingerprint": toml(dataset.fingerprint),
        "size": _size_line(size),
        "test": _test_line(tested, min(counts)),
        "network": "\n".join(f"{key} = {toml(value)}" for key, value in network.items()),
        "epochs": str(epochs),
        "seconds": f"{epochs * each:.0f}",
        "batch_size": str(protocol.budget.batch_size),
        "augmentation": toml(protocol.budget.augmentation),
        "metrics": toml(["balanced_accuracy", *groups, "worst_class", "macro_f1"]),
        "borders": toml(borders),
        "groups": "no group is empty" if len(groups) == 3 else f"there are {' and '.join(groups)}",
    }
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)
    return Proposal(_seen(dataset, found, left), text)


def _size(sides: list[tuple[int, int]]) -> int | None:
    """The side to which images are cut; None for those of one size that is small enough."""
    if not sides or (len(set(sides)) == 1 and max(sides[0]) <= SIDE):
        return None
    return min(SIDE, int(median(min(one) for one in sides)))


def _tested(dataset: Dataset) -> int | None:
    """How many rows of each class are tested on; None where there is a test split."""
    counts = dataset.class_counts
    if dataset.test is not None:
        return None
    fewest = min(counts)
    if fewest < 2:
        raise LTBenchError(
            f"class {dataset.classes[counts.index(fewest)]} has one row, which cannot be both "
            "trained on and tested on; add rows, or leave the class out"
        )
    return min(MOST_TESTED, max(1, fewest // TESTED))


def _network(dataset: Dataset) -> dict[str, Any]:
    shape = dataset.train.shape
    if len(shape) == 3 and min(shape[1:]) >= HALVED:
        return {"name": "convnet", "widths": list(WIDTHS if _large(dataset) else WIDTHS[:3])}
    return {"name": "mlp", "widths": [64, 64], "batch_norm": True}


def _large(dataset: Dataset) -> bool:
    """Whether the rows are images beyond the size that three blocks of convolutions do for."""
    shape = dataset.train.shape
    return len(shape) == 3 and min(shape[1:]) > SMALL_SIDE


def _recipes(counts: list[int]) -> list[str]:
    """What is worth trying for class counts [C]; plain training always."""
    factor = max(counts) / min(counts)
    recipes = ["erm", "balanced-softmax"]
    recipes += ["oversampling"] if min(counts) < SMALL and factor > 1 else []
    return [*recipes, *(["ldam+drw", "crt"] if factor >= LONG else [])]


def _protocol(
    name: str,
    dataset: Dataset,
    size: int | None,
    tested: int | None,
    left: list[int],
    network: dict[str, Any],
) -> Recognition:
    """The protocol with a budget of one epoch, which is timed."""
    pictures = dataset.train.inputs.dtype == torch.uint8 and network["name"] == "convnet"
    return Recognition(
        name=name,
        version=1,
        description="",
        recipes=["erm"],
        seeds=1,
        data=Data(name, dataset.fingerprint, size, test_per_class=tested),
        imbalance=Imbalance("source", draw="seed"),
        network=network,
        budget=Budget(
            epochs=1,
            batch_size=64 if sum(left) >= 2000 else 32,
            lr=0.05,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            warmup=0.05,
            decay="cosine",
            augmentation="crop-flip" if pictures and dataset.train.shape[0] == 3 else "none",
        ),
        scoring=Scoring(["balanced_accuracy"], shot_borders(left)),
        compute=Compute(threads=1),
    )


def _seen(dataset: Dataset, sizes: Counter[tuple[int, int]], left: list[int]) -> dict[str, Any]:
    counts, labels = dataset.class_counts, dataset.train.labels.tolist()
    twins = duplicates.between_classes(duplicates.keys_of(dataset.train), labels)
    cut = f"{sum(counts) - sum(left)}, cut from these"
    seen: dict[str, Any] = {
        "kind": "images" if len(dataset.train.shape) == 3 else "rows of numbers",
        "rows": len(dataset.train),
        "classes": dict(zip(dataset.classes, counts, strict=True)),
        "factor": f"{max(left) / min(left):.3g} among the rows to train on",
        "test rows": cut if dataset.test is None else len(dataset.test),
    }
    if sizes:
        told = [f"{w} x {h} ({n})" for (w, h), n in sizes.most_common(3)]
        more = len(sizes) - len(told)
        seen["sizes"] = ", ".join(told) + (f" and {more} more" if more > 0 else "")
    seen["read as"] = " x ".join(map(str, dataset.train.shape))
    seen["in two classes"] = duplicates.told(twins, dataset.classes, labels)
    if dataset.test is not None:
        known = set(duplicates.keys_of(dataset.train))
        leaked = sum(key in known for key in duplicates.keys_of(dataset.test))
        seen["in both splits"] = leaked or "none"
    plain = sum(bool((row == row.flatten()[0]).all()) for row in _each(dataset))
    seen["of one value"] = plain or "none"
    return seen | ({"notes": list(dataset.notes)} if dataset.notes else {})


def _each(dataset: Dataset) -> Iterator[Tensor]:
    return (row for part in dataset.train.portions() for row in part)


def _size_line(size: int | None) -> str:
    if size is None:
        return "# images are of one size that a CPU bears; size = PIXELS would cut them"
    return f"# images are cut to one size; more pixels tell more, and take longer\nsize = {size}"


def _test_line(tested: int | None, fewest: int) -> str:
    if tested is None:
        return "# the source has a test split of its own, which is taken as it is"
    return (
        "# rows of each class to test on, others with each seed: a third of the smallest class,\n"
        f"# which has {fewest}, and at most {MOST_TESTED}\n"
        f"test_per_class = {tested}"
    )
