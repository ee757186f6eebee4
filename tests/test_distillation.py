import json
import math
import os

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from ltbench import LTBenchError, Method, Recipe, Rows, protocol, recipe
from ltbench.boards.leaderboard import build
from ltbench.datasets import built_in
from ltbench.errors import Unmet
from ltbench.registry.registry import installed
from ltbench.results.records import arrays_of, read
from ltbench.scoring import metrics
from ltbench.scoring.measures import NAMES
from ltbench.tracks import kept_networks
from ltbench.tracks.classification import split
from ltbench.tracks.distillation import track as distillation
from ltbench.tracks.distillation.checks import marked
from ltbench.tracks.recognition import track as recognition
from ltbench.training import environment
from ltbench.training.engine import stream_seed, train

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHORT = """
base = "distill-digits"
name = "tiny-distill"
seeds = 2
networks = 2
steps = 4
recipes = ["dm"]

[distilling]
ipc = {ipc}
iterations = 2
networks = 1
epochs = 1

[data]
test_per_class = 20

[imbalance]
profile = "exponential"
n_max = 30
factor = 10
class_order = "seed"
draw = "seed"

[network]
name = "convnet"
widths = [4, 4]
norm = "instance"

[budget]
epochs = 1

[scoring]
shot_splits = [5, 15]
"""


@pytest.fixture
def tiny(tmp_path):
    """The path of a protocol that distils in milliseconds."""
    path = tmp_path / "tiny.toml"
    path.write_text(SHORT.format(ipc=4))
    return path


@pytest.fixture
def fixed(tiny):
    return protocol(tiny)


def run(fixed, method, seed=0):
    if not isinstance(method, Recipe):
        method = recipe(method) if isinstance(method, str) else Recipe(method)
    return distillation.run(fixed, method, seed, DIGITS, CPU)


def metrics_of(outcome):
    """How well the networks told classes apart."""
    return {name: outcome.measures[name] for name in NAMES}


@pytest.fixture
def kept(monkeypatch):
    """The rows that each cell kept, also of those that no record tells."""
    rows, keep = [], distillation.kept

    def watched(*given):
        rows.append(keep(*given))
        return rows[-1]

    monkeypatch.setattr(distillation, "kept", watched)
    return rows


def test_a_cell_keeps_the_budget_and_trains_every_network_on_it(fixed, monkeypatch):
    trained = []

    def watched(method, rows, run, batch_size):
        trained.append((rows.labels.bincount().tolist(), run.seed, run.phase.epochs))
        return train(method, rows, run, batch_size)

    monkeypatch.setattr(distillation, "train", watched)
    outcome = run(fixed, "random", seed=1)
    seeds = [stream_seed(1, f"evaluation {k}") for k in range(2)]
    assert trained == [([4] * 10, seed, 4) for seed in seeds]
    told = outcome.measures
    assert (told["images"], told["bytes"]) == (40, 40 * 64 * 4)
    assert told["evaluation_seconds"] > 0
    assert outcome.details.networks == 2
    assert not outcome.control


def test_the_reference_is_the_mean_of_plain_training_before_and_after(fixed, monkeypatch):
    works = iter([100.0, 2.0, 4.0])  # the first only warms up
    monkeypatch.setattr(distillation, "time_plain", lambda *given: next(works))
    assert run(fixed, "random").timing.reference_work == 3


def test_a_network_that_scores_begins_from_none_that_the_method_saw(fixed, monkeypatch):
    seen, began = {}, []

    class Looks(Method):
        name = "looks"
        needs = frozenset({"ipc"})

        def resample(self, train, run):
            seen.update(head=run.model.head.weight.clone(), seed=run.seed)
            return recipe("random").resample(train, run)

    def watched(method, rows, run, batch_size):
        began.append((run.seed, run.model.head.weight.clone()))
        return train(method, rows, run, batch_size)

    monkeypatch.setattr(distillation, "train", watched)
    run(fixed, Looks(), seed=0)
    assert len(began) == fixed.networks
    assert seen["seed"] not in [seed for seed, _ in began]
    assert not any(torch.equal(seen["head"], head) for _, head in began)


class KeepsItsShift(Method):
    """A correction of the prior that keeps what it adds in `prepare`, not in the run."""

    name = "keeps-its-shift"

    def __init__(self):
        self.shift = torch.zeros(())

    def prepare(self, run):
        self.shift = run.seen.log()

    def scores(self, scores, run):
        return scores - self.shift


def test_a_network_is_scored_with_the_recipe_that_trained_it(fixed):
    full = installed().method("full")
    own = metrics_of(run(fixed, Recipe(full(), KeepsItsShift())))
    built_in = metrics_of(run(fixed, "full+posthoc-logit-adjustment"))
    assert own == pytest.approx(built_in)
    assert own != pytest.approx(metrics_of(run(fixed, "full")))


@pytest.mark.parametrize("name", sorted(installed().methods()))
def test_whatever_else_a_recipe_does_goes_with_a_method_that_distils(name):
    method = installed().recipe(name)
    if "ipc" in method.all_needs or "network" not in installed().method(name).models:
        pytest.skip("it distils itself, or is for estimators")
    problem, dataset = marked()
    composed = Recipe(*recipe("random").methods, *method.methods)
    try:
        outcome = distillation.run(problem, composed, 0, dataset, CPU)
    except Unmet:
        return  # told by name
    assert 0 <= outcome.measures["accuracy"] <= 1


def test_every_metric_is_the_mean_of_the_networks(fixed):
    outcome = run(fixed, "dm")
    labels, arrays = outcome.arrays["labels"], outcome.arrays
    assert np.bincount(labels).tolist() == [20] * 10
    assert arrays["predicted"].shape == arrays["confidence"].shape == (2, len(labels))
    of_each = [metrics.recalls(labels, predicted, 10) for predicted in arrays["predicted"]]
    assert outcome.recall == pytest.approx(np.mean(of_each, axis=0).tolist())
    for name, value in (("g_mean", metrics.g_mean), ("worst_class", metrics.worst_class)):
        assert outcome.measures[name] == pytest.approx(np.mean([*map(value, of_each)]))
    f1 = np.mean([metrics.macro_f1(labels, predicted, 10) for predicted in arrays["predicted"]])
    assert outcome.measures["macro_f1"] == pytest.approx(f1)
    pooled = metrics.macro_f1(np.tile(labels, 2), arrays["predicted"].ravel(), 10)
    assert f1 != pytest.approx(pooled)
    assert arrays["distilled"].shape == (40, 1, 8, 8)
    assert np.bincount(arrays["distilled_labels"]).tolist() == [4] * 10


@pytest.mark.parametrize("text", ["dm", "csdm", "ncfm"])
def test_one_seed_gives_one_set_and_another_seed_another(fixed, text):
    first, again, other = (run(fixed, text, seed).arrays for seed in (0, 0, 1))
    assert np.array_equal(first["distilled"], again["distilled"])
    assert np.array_equal(first["distilled_labels"], again["distilled_labels"])
    assert not np.array_equal(first["distilled"], other["distilled"])
    assert first["distilled"].min() >= 0
    assert first["distilled"].max() <= 1


def test_a_repeated_image_is_counted_and_said(fixed):
    outcome = run(fixed, "random")
    assert min(outcome.class_counts) == 3
    repeated = sum(max(0, 4 - n) for n in outcome.class_counts)
    assert outcome.measures["duplicates"] == repeated == 2
    assert "2 of 40 images repeat another" in outcome.notes


class Returns(Method):
    name = "returns"
    needs = frozenset({"ipc"})

    def __init__(self, make=None):
        self.make = make

    def resample(self, train, run):
        kept = recipe("random").resample(train, run)
        return self.make(kept, train)


def scaled(factor):
    return lambda kept, train: Rows(kept.inputs * factor, kept.labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda kept, train: train, "30 rows of class 4 are over the budget of 4 a class"),
        (scaled(math.nan), "hold pixels that are not finite numbers"),
        (scaled(2.0), "hold pixels from 0 to 2; real ones are from 0 to 1"),
        (lambda kept, train: kept[kept.labels > 0], "resampling left class 0 without rows"),
        (lambda kept, train: Rows(kept.inputs, kept.labels.float()), "must be hard ones"),
        (lambda kept, train: Rows(kept.inputs, kept.labels + 1), "is not in 0..9"),
        (
            lambda kept, train: Rows(kept.inputs[..., :4], kept.labels),
            "the inputs of resampled rows are torch.float32 [1, 8, 4] each; "
            "they were torch.float32 [1, 8, 8]",
        ),
    ],
)
def test_rows_that_cannot_stand_for_the_training_set_are_refused(fixed, make, words):
    with pytest.raises(LTBenchError) as refusal:
        run(fixed, Returns(make), seed=0)
    assert words.replace("class 4", f"class {_largest(fixed)}") in str(refusal.value)


def _largest(fixed):
    counts = split(fixed, DIGITS, 0).class_counts
    return counts.index(max(counts))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("erm", "erm distils nothing; tiny-distill trains on 4 rows a class"),
        ("smote+ldam", "as in random+smote+ldam"),
        ("csdm+dm", "csdm and dm both distil; one of them is enough"),
        ("random+sade", "sade overrides adapt, which track distillation never calls"),
    ],
)
def test_a_recipe_that_does_not_distil_once_is_skipped_by_name(fixed, text, words):
    with pytest.raises(Unmet) as refusal:
        run(fixed, text)
    assert words in str(refusal.value)


def test_a_method_that_distils_is_skipped_where_nothing_is_distilled():
    with pytest.raises(Unmet, match="digits-lt supplies no ipc; csdm needs that"):
        recognition.run(protocol("digits-lt"), recipe("csdm"), 0, DIGITS, CPU)


def test_the_rest_of_a_recipe_trains_the_networks(fixed):
    plain, composed = (run(fixed, text) for text in ("random", "random+ldam"))
    assert np.array_equal(plain.arrays["distilled"], composed.arrays["distilled"])
    assert metrics_of(plain) != metrics_of(composed)


def test_an_even_set_leaves_nothing_to_a_correction_of_the_prior(fixed):
    composed = recipe("random+balanced-softmax")
    assert "evens out the classes already" in composed.warnings[0]
    both = ("random", "random+balanced-softmax")
    plain, composed = (metrics_of(run(fixed, text)) for text in both)
    assert composed == pytest.approx(plain, abs=1e-6)


def test_controls_stand_outside_the_budget_on_the_same_test_rows(fixed, kept):
    full, whole = run(fixed, "full"), run(fixed, "full(balanced=True)")
    of_full, of_whole = kept
    assert of_full.labels.bincount().tolist() == full.class_counts
    assert of_whole.labels.bincount().tolist() == [30] * 10
    assert full.control
    assert whole.control
    assert "distilled" not in full.arrays
    test = split(fixed, DIGITS, 0).test()
    held = {row.numpy().tobytes() for row in test.inputs}
    assert not held & {row.numpy().tobytes() for row in of_whole.inputs}
    real = {row.numpy().tobytes() for row in of_full.inputs}
    assert real <= {row.numpy().tobytes() for row in of_whole.inputs}


def test_every_set_is_trained_on_for_as_many_steps(fixed):
    longer = msgspec.structs.replace(fixed, steps=100)
    # 200 rows are 4 steps of up to 64, 40 rows are one
    assert [distillation.epochs_on(longer, n) for n in (40, 200)] == [100, 25]
    assert distillation.epochs_on(fixed, 1000) == 1


@pytest.fixture
def no_pools(monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    distillation._trained.clear()
    return tmp_path / "cache" / "pools"


@pytest.mark.parametrize("where", ["in the process", "on disk"])
def test_recipes_of_a_seed_share_a_pool_and_each_is_charged_for_it(
    fixed, no_pools, monkeypatch, where
):
    first = run(fixed, "herding")
    (pool,) = distillation._trained.values()
    if where == "on disk":
        distillation._trained.clear()
    monkeypatch.setattr(distillation.Pool, "_train", None)  # it would be called, and fail
    again = run(fixed, "herding")
    assert np.array_equal(first.arrays["distilled"], again.arrays["distilled"])
    assert again.timing.passes == first.timing.passes > 0
    assert again.timing.seconds >= pool.seconds
    assert again.timing.work >= pool.work
    (kept,) = no_pools.glob("*.pt")
    assert kept.stat().st_size < 10**6


def test_a_pool_is_another_one_for_other_code_or_another_processor(fixed, no_pools, monkeypatch):
    run(fixed, "herding")
    for where, name in ((kept_networks, "core_code"), (environment, "deciding")):
        with monkeypatch.context() as patch:
            told = ["other"] if name == "deciding" else "other"
            patch.setattr(where, name, lambda *given, told=told: told)
            distillation._trained.clear()
            run(fixed, "herding")
    assert len(list(no_pools.glob("*.pt"))) == 3


def test_what_is_kept_is_bounded_and_what_was_used_last_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path))
    network = torch.nn.Linear(100, 100)
    kept_networks.write("pools", "0", [network])
    (first,) = (tmp_path / "pools").glob("0-*.pt")
    monkeypatch.setattr(kept_networks, "MOST", int(2.5 * first.stat().st_size))
    kept_networks.write("pools", "1", [network])
    for age, name in enumerate("10"):
        (path,) = (tmp_path / "pools").glob(f"{name}-*.pt")
        os.utime(path, (age, age))
    kept_networks.write("pools", "2", [network])
    assert sorted(path.name[0] for path in (tmp_path / "pools").glob("*.pt")) == ["0", "2"]
    assert kept_networks.there("pools", "0")
    assert kept_networks.read("pools", "1", [network]) is None


def test_a_pool_that_was_changed_is_refused(fixed, no_pools):
    run(fixed, "herding")
    (kept,) = no_pools.glob("*.pt")
    kept.rename(kept.with_name(kept.name.replace(kept.stem.partition("-")[2], "0" * 16)))
    distillation._trained.clear()
    with pytest.raises(LTBenchError, match=f"has weights of hash .*, not {'0' * 16}; delete it"):
        run(fixed, "herding")


def test_an_even_pool_is_another_one(fixed):
    parts = split(fixed, DIGITS, 0)
    pool = distillation.Pool(fixed, parts, 0, CPU)
    ((start, plain),), ((same_start, even),) = pool(False), pool(True)
    assert torch.equal(start.head.weight, same_start.head.weight)
    assert not torch.equal(plain.head.weight, even.head.weight)
    assert not any(p.requires_grad for p in (*start.parameters(), *even.parameters()))


def test_a_run_writes_records_a_table_and_a_picture(tiny, ltbench, tmp_path):
    done = ltbench("run", tiny, "-m", "csdm", "--seeds", 2, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "*over random*" in done.stdout
    assert "- `csdm`: origin: reconstruction" in done.stdout
    assert "`csdm` over `random`: " in done.stdout
    folder = tmp_path / "leaderboards" / "tiny-distill" / "records"
    path = folder / "csdm" / "seed-0.json"
    record = read(path)
    assert record.measures["images"] == 40
    assert record.details == {"networks": 2}
    held = arrays_of(tmp_path / "leaderboards", record)
    assert held["distilled"].dtype == np.float32
    # the registry does not know the protocol of a file
    refused = ltbench("show", path)
    assert "unknown protocol 'tiny-distill'" in refused.stderr
    control = ltbench("show", folder / "full" / "seed-0.json")
    assert control.exit_code == 2


def test_a_picture_shows_real_images_above_those_made_of_them(fixed, kept):
    from ltbench.tracks.distillation.sheet import GAP, LINE, sheet

    outcome = run(fixed, "random")
    real = split(fixed, DIGITS, 0).train
    picture = sheet(real, kept[0], outcome.class_counts, DIGITS.classes)
    assert isinstance(picture, Image.Image)
    # ten columns of 8-pixel images at four times their size, four above and four below
    assert picture.size == (10 * 34 + GAP, 2 * LINE + 8 * 34 + 3 * GAP)
    head = max(range(10), key=lambda c: outcome.class_counts[c])
    first = np.asarray(picture)[2 * LINE : 2 * LINE + 32 : 4, GAP : GAP + 32 : 4, 0]
    shown = real.inputs[real.labels == head][0, 0] * 255
    assert np.array_equal(first, shown.round().to(torch.uint8).numpy())
    with pytest.raises(LTBenchError, match="rows of \\[5\\] are no images to show"):
        flat = Rows(torch.zeros(2, 5), torch.tensor([0, 1]))
        sheet(flat, flat, (1, 1), ("a", "b"))


def test_the_table_ranks_what_is_within_the_budget(fixed, tiny, ltbench):
    done = ltbench("run", tiny, "--seeds", 2, "--jobs", 1)
    assert done.exit_code == 0, done.output
    board = json.loads(ltbench("leaderboard", tiny, "--format", "json").stdout)
    rows = {row["recipe"]: row for row in board["rows"]}
    assert rows["full"]["rank"] is None
    assert rows["full"]["measures"]["retention"]["mean"] == 1
    assert rows["dm"]["rank"][0] >= 1
    assert rows["random"]["delta"]["mean"] == 0
    assert board["reference"] == "random"
    assert board["contrasts"] == []  # none of its pairs was run


def test_the_table_tells_paired_differences_and_their_errors(fixed):
    from sample_record import RECORD

    fixed = msgspec.structs.replace(fixed, contrasts=(("a", "b"), ("a", "c")))
    found = [
        msgspec.structs.replace(RECORD, recipe=name, seed=seed, measures={"accuracy": value})
        for name, values in (("a", (0.5, 0.7)), ("b", (0.4, 0.4)))
        for seed, value in enumerate(values)
    ]
    (contrast,) = build(installed().track("distillation"), fixed, found).contrasts
    # differences 0.1 and 0.3
    assert contrast.difference.mean == pytest.approx(0.2)
    assert contrast.error == pytest.approx(0.1)


@pytest.mark.parametrize("ipc", [0, -1])
def test_a_budget_of_nothing_is_refused(tiny, ipc):
    tiny.write_text(SHORT.format(ipc=ipc))
    with pytest.raises(LTBenchError, match="expected int >= 1 - at distilling.ipc"):
        protocol(tiny)


def test_what_only_tells_is_not_in_the_hash(fixed):
    assert msgspec.structs.replace(fixed, contrasts=(("csdm", "dm"),)).hash == fixed.hash
    assert msgspec.structs.replace(fixed, networks=3).hash != fixed.hash


def test_learned_images_beat_real_ones_on_the_digits(monkeypatch):
    """End to end; neither csdm over dm nor over sdd can be told apart at this size."""
    monkeypatch.setattr(distillation, "time_plain", lambda *given: 1.0)
    digits, replace = protocol("distill-digits"), msgspec.structs.replace
    digits = replace(
        digits,
        distilling=replace(digits.distilling, iterations=50, rows=16, networks=1, epochs=6),
        budget=replace(digits.budget, epochs=1),
        networks=1,
        steps=80,
    )
    gaps = [
        run(digits, "csdm(frequencies=128)", seed).measures["accuracy"]
        - run(digits, "random", seed).measures["accuracy"]
        for seed in (10, 11, 12, 13)
    ]
    assert sum(gaps) / len(gaps) >= 0.01
