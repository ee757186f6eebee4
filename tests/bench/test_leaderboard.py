"""Leaderboards of very many records, and reading records from their files."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from side_by_side import in_turn, ratio

from ltbench import protocol
from ltbench.boards.leaderboard import build
from ltbench.boards.reading import read
from ltbench.registry.registry import installed
from ltbench.results import index
from ltbench.results.record_arrays import COSTS, columns
from ltbench.results.records import Origin, Record, Timing, path_of, read_all, write
from ltbench.scoring.measures import stored

DIGITS = protocol("digits-lt")
TRACK = installed().track(DIGITS.track)
NAMES = stored(TRACK.measures)
KEYS = [*NAMES, *COSTS]
ONE = Record(
    protocol="digits-lt",
    version=DIGITS.version,
    hash=DIGITS.hash,
    track=DIGITS.track,
    fingerprint=DIGITS.data.fingerprint,
    recipe="erm",
    parameters={"erm": {}},
    plugins={"erm": Origin("ltbench", "0.1.0", "0" * 16)},
    seed=0,
    status="ok",
    environment={"cpu": "a processor", "threads": 1, "torch": "2"},
    measures=dict.fromkeys(NAMES, 0.5),
    recall=[0.5] * 10,
    class_counts=[10] * 10,
    timing=Timing(1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
)


def records(recipes, seeds):
    chance = np.random.default_rng(0)
    for position in range(recipes):
        name = f"method-{position}" if position else "erm"
        for seed in range(seeds):
            scores = dict(zip(NAMES, chance.random(len(NAMES)).tolist(), strict=True))
            yield structs.replace(ONE, recipe=name, seed=seed, measures=scores)


@pytest.mark.benchmark(group="100,000 records to a table")
def test_build(benchmark):
    found = list(records(100, 1000))
    board = benchmark.pedantic(build, args=(TRACK, DIGITS, found), rounds=5, warmup_rounds=1)
    assert len(board.rows) == 100


@pytest.mark.benchmark(group="1,000 files to records")
def test_read(benchmark, tmp_path: Path):
    for record in records(10, 100):
        write(tmp_path, record, None)
    found = benchmark.pedantic(
        lambda: list(read_all(tmp_path, "digits-lt")), rounds=5, warmup_rounds=1
    )
    assert len(found) == 1000
    assert path_of(tmp_path, "digits-lt", "erm", 0).exists()


RECIPES, SEEDS, NEW = 100, 10_000, 1000


@pytest.fixture(scope="module")
def a_million(tmp_path_factory):
    """A results folder with the index of a million records; those of `erm` are there as files."""
    folder = tmp_path_factory.mktemp("results")
    chance = np.random.default_rng(0)
    for position in range(RECIPES):
        recipe = f"method-{position}" if position else "erm"
        for seed in range(SEEDS if recipe == "erm" else 1):
            write(folder, structs.replace(ONE, recipe=recipe, seed=seed), None)
        place = path_of(folder, "digits-lt", recipe, 0).parent
        every = [structs.replace(ONE, recipe=recipe, seed=seed) for seed in range(SEEDS)]
        part = columns(every, NAMES)
        part.measures[:] = chance.random(part.measures.shape)
        files = {
            entry.name: (entry.stat().st_mtime_ns, entry.stat().st_size)
            for entry in os.scandir(place)
        }
        head = index.Head(KEYS, place.stat().st_mtime_ns, part.recipes, part.kinds)
        index._save(folder / "digits-lt" / "index" / place.name, head, part, files)
    return folder


@pytest.mark.benchmark(group="a million records to a table, the index warm")
def test_warm(benchmark, a_million):
    told, _ = index.read(a_million, "digits-lt", NAMES)
    frame = pd.DataFrame(np.concatenate([told.measures, told.costs], axis=1), columns=KEYS)
    frame["recipe"] = pd.Categorical.from_codes(told.recipe, told.recipes)
    calls = {
        "table": lambda: read(installed(), "digits-lt", a_million),
        "group by": lambda: frame.groupby("recipe", observed=True).agg(["mean", "std"]),
    }
    seconds = in_turn(calls, rounds=5)
    benchmark.extra_info["ratio"] = ratio(seconds["table"], seconds["group by"])
    board = benchmark.pedantic(calls["table"], rounds=1).board.content
    assert (len(board.rows), board.rows[0].seeds) == (RECIPES, SEEDS)


@pytest.mark.benchmark(group="a million records to a table, a thousand of them new")
def test_new(benchmark, a_million):
    for seed in range(SEEDS, SEEDS + NEW):
        write(a_million, structs.replace(ONE, seed=seed), None)
    time.sleep(index.SETTLED)
    read_all_of_one = benchmark.pedantic(
        lambda: read(installed(), "digits-lt", a_million), rounds=1
    ).board.content
    erm = next(row for row in read_all_of_one.rows if row.recipe == "erm")
    assert erm.seeds == SEEDS + NEW
