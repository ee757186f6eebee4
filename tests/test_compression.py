import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch

from ltbench import LTBenchError, Method, Recipe, protocol, recipe
from ltbench.boards.leaderboard import build
from ltbench.contract.context import Rows
from ltbench.errors import Unmet
from ltbench.registry.registry import installed
from ltbench.results.records import arrays_of, read
from ltbench.scoring.measures import NAMES
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks import kept_networks
from ltbench.tracks.classification import split
from ltbench.tracks.compression import pools
from ltbench.tracks.compression import track as compression
from ltbench.tracks.compression.checks import begun, marked
from ltbench.tracks.compression.contract import Recovering
from ltbench.tracks.compression.problem import Compressing, Pool, by_rank
from ltbench.tracks.recognition import track as recognition
from ltbench.training import environment

CPU = torch.device("cpu")
SHORT = """
base = "compress-digits"
name = "tiny-compress"
seeds = 2
recipes = ["kd"]

[compressing]
rows = 2
factor = 4.0
keep = {keep}

[network]
name = "convnet"
widths = [4, 4, 4]

[teacher]
epochs = 1

[budget]
epochs = {epochs}

[ood]
source = "{source}"
fingerprint = "any"
images = 30
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    compression._teachers.clear()


@pytest.fixture
def tiny(tmp_path):
    """Writes a protocol that compresses in milliseconds; gives its path."""

    def write(keep=0.5, epochs=2, source="photographs"):
        path = tmp_path / "tiny.toml"
        path.write_text(SHORT.format(keep=keep, epochs=epochs, source=source))
        return path

    return write


def source_of(fixed):
    return compression.load(installed(), fixed)[""]


def run(fixed, method, seed=0, source=None):
    made = recipe(method) if isinstance(method, str) else Recipe(method)
    return compression.run(fixed, made, seed, source or source_of(fixed), CPU)


def metrics_of(outcome):
    """How well the network tells classes apart."""
    return {name: outcome.measures[name] for name in NAMES}


def recovering(text):
    return Recovering(*recipe(text).methods)


@pytest.fixture
def quick(monkeypatch):
    """The reference is not measured, which most of a small cell's time goes to."""
    monkeypatch.setattr(compression, "time_plain", lambda *given: 1.0)
    monkeypatch.setattr(compression, "latency", lambda *given: 1.0)


@pytest.mark.parametrize(
    ("rows", "factor", "counts"),
    [
        (5, 20, [19, 10, 7, 5, 3, 2, 1, 1, 1, 1]),
        (50, 100, [205, 120, 72, 43, 26, 15, 9, 5, 3, 2]),
        (10, 100, [42, 24, 14, 8, 5, 3, 1, 1, 1, 1]),
        (3, 1, [3] * 10),
    ],
)
def test_few_rows_have_equal_totals_and_one_of_each_class_at_least(rows, factor, counts):
    found = Compressing(0.5, rows, factor, "label", "seed").class_counts(10)
    assert found == counts
    assert sum(found) == 10 * rows


def test_too_few_rows_for_the_classes_are_refused():
    with pytest.raises(LTBenchError, match="10 rows are too few for 10 classes at factor 20"):
        Compressing(0.5, 1, 20.0, "label", "seed").class_counts(10)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("keep", "0.0", "expected float > 0.0 - at compressing.keep"),
        ("keep", "1.5", "expected float <= 1.0 - at compressing.keep"),
        ("rows", "0", "expected int >= 1 - at compressing.rows"),
        ("factor", "0.5", "expected float >= 1.0 - at compressing.factor"),
    ],
)
def test_what_cannot_be_granted_is_refused_with_its_place(tmp_path, key, value, words):
    path = tmp_path / "wrong.toml"
    path.write_text(f'base = "compress-digits"\nname = "wrong"\n[compressing]\n{key} = {value}\n')
    with pytest.raises(LTBenchError) as refusal:
        protocol(path)
    assert words in str(refusal.value)


def test_the_twin_has_as_many_rows_and_shares_what_it_can(tiny):
    fixed = protocol(tiny())
    parts = split(fixed, source_of(fixed), 3)
    tailed, twin = compression.few(fixed, parts, 3)
    assert len(tailed.train) == len(twin.train) == 20
    assert twin.train.labels.bincount().tolist() == [2] * 10
    assert sorted(tailed.class_counts) == sorted(fixed.compressing.class_counts(10))
    order = np.random.RandomState(3).permutation(10).tolist()
    assert tailed.class_counts == by_rank(fixed.compressing.class_counts(10), order)
    rows = [{row.numpy().tobytes() for row in part.train.inputs} for part in (tailed, twin)]
    assert len(rows[0] & rows[1]) == sum(min(n, 2) for n in tailed.class_counts)
    other = compression.few(fixed, split(fixed, source_of(fixed), 4), 4)[0]
    assert other.class_counts != tailed.class_counts


def test_a_cell_tells_the_network_its_twin_and_its_cost(tiny):
    outcome = run(protocol(tiny()), "kd")
    told, twin = outcome.measures, outcome.details.twin
    assert 0 < told["parameters_left"] < 1
    assert 0 < told["macs_left"] < 1
    assert told["latency"] > 0
    assert 0 <= told["agreement"] <= 1
    assert told["twin_seconds"] > 0
    assert not outcome.control
    assert twin.keys() == set(NAMES)
    assert twin != metrics_of(outcome)
    assert told["twin"] == twin["balanced_accuracy"]
    assert outcome.timing.seconds > 0
    assert outcome.arrays["twin_predicted"].shape == outcome.arrays["labels"].shape


def test_the_reference_is_the_mean_of_plain_training_before_and_after(tiny, quick, monkeypatch):
    works = iter([100.0, 2.0, 4.0])  # the first only warms up
    monkeypatch.setattr(compression, "time_plain", lambda *given: next(works))
    assert run(protocol(tiny()), "kd").timing.reference_work == 3


def test_parameters_and_operations_are_those_worked_out_by_hand(quick):
    """Of 28,842 parameters a quarter of 32 filters, twice, leaves 6,066."""
    digits = protocol("compress-digits")
    shorter = msgspec.structs.replace(digits.teacher, epochs=1)
    told = run(msgspec.structs.replace(digits, teacher=shorter), "l1").measures
    assert told["parameters"] == 6_066
    assert told["parameters_left"] == 6_066 / 28_842
    # 3x3 convolutions on 8x8, 4x4 and 2x2 pixels, and a head of 64 features
    assert told["macs"] == 9 * (1 * 8 * 64 + 8 * 8 * 16 + 8 * 64 * 4) + 640
    whole = 9 * (1 * 32 * 64 + 32 * 32 * 16 + 32 * 64 * 4) + 640
    assert told["macs_left"] == told["macs"] / whole


def test_one_seed_gives_one_network_and_another_seed_another(tiny, quick):
    fixed = protocol(tiny())
    first, again, other = (run(fixed, "kd+oe-fsmc", seed) for seed in (0, 0, 1))
    assert metrics_of(first) == metrics_of(again)
    assert first.details.twin == again.details.twin
    assert first.details.teacher == again.details.teacher != other.details.teacher
    assert metrics_of(first) != metrics_of(other)


def test_a_keep_ratio_of_one_gives_the_teachers_outputs(tiny, quick):
    fixed = protocol(tiny(keep=1.0))
    whole, pruned = run(fixed, "teacher"), run(fixed, "l1")
    for name in ("predicted", "confidence"):
        assert np.array_equal(whole.arrays[name], pruned.arrays[name])
    assert pruned.measures["agreement"] == 1
    assert pruned.control


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("erm", "erm compresses nothing; compress-digits trains pruned networks"),
        ("oe-fsmc", "oe-fsmc compresses nothing"),
        ("kd+fskd", "kd and fskd both compress; one of them is enough"),
        ("csdm", "csdm compresses nothing"),
        ("kd+self-paced-ensemble", "self-paced-ensemble acts on estimators"),
    ],
)
def test_what_does_not_compress_once_is_skipped_by_name(text, words):
    fixed = protocol("compress-digits")
    with pytest.raises(Unmet) as refusal:
        compression.refuse_unmet(fixed, recipe(text))
    assert words in str(refusal.value)


@pytest.mark.parametrize("text", ["kd", "oe-fsmc"])
def test_a_method_of_this_track_is_skipped_where_nothing_is_compressed(text):
    digits = protocol("digits-lt")
    with pytest.raises(Unmet, match=f"digits-lt supplies no (teacher|ood); {text} needs that"):
        recognition.refuse_unmet(digits, recipe(text), 10)


@pytest.mark.parametrize("text", ["kd+logit-adjustment", "mir+sam", "kd+oversampling", "bp+focal"])
def test_recognition_methods_compose(tiny, quick, text):
    fixed = protocol(tiny())
    plain, composed = run(fixed, text.partition("+")[0]), run(fixed, text)
    assert not np.array_equal(plain.arrays["confidence"], composed.arrays["confidence"])


def test_teachers_are_shared_in_a_process_and_on_disk(tiny, quick, monkeypatch, tmp_path):
    fixed = protocol(tiny())
    first = run(fixed, "l1")
    monkeypatch.setattr(compression.Teachers, "_train", None)  # it would be called, and fail
    assert run(fixed, "kd").details.teacher == first.details.teacher
    compression._teachers.clear()
    again = run(fixed, "l1")
    assert again.details.teacher == first.details.teacher
    assert metrics_of(again) == metrics_of(first)
    (kept,) = (tmp_path / "cache" / "teachers").glob("*.pt")
    assert first.details.teacher in kept.name


def test_a_teacher_depends_on_its_training_and_not_on_the_recovery(tiny):
    fixed, replace = protocol(tiny()), msgspec.structs.replace
    parts = split(fixed, source_of(fixed), 0)

    def key(**keys):
        return compression.Teachers(replace(fixed, **keys), parts, 0, CPU).key()

    assert key(budget=replace(fixed.budget, lr=0.5)) == key()
    assert key(teacher=replace(fixed.teacher, lr=0.5)) != key()
    assert key(network={**fixed.network, "widths": [4, 4, 5]}) != key()
    fixed_teacher = replace(fixed.compressing, teacher="fixed")
    one, other = (
        compression.Teachers(replace(fixed, compressing=fixed_teacher), parts, seed, CPU)
        for seed in (0, 1)
    )
    assert one.key() == other.key()


@pytest.mark.parametrize(
    ("where", "name"), [(kept_networks, "core_code"), (environment, "deciding")]
)
def test_a_teacher_depends_on_the_code_and_the_processor(tiny, monkeypatch, where, name):
    fixed = protocol(tiny())
    parts = split(fixed, source_of(fixed), 0)
    before = compression.Teachers(fixed, parts, 0, CPU).key()
    monkeypatch.setattr(where, name, lambda *given: ["other"])
    assert compression.Teachers(fixed, parts, 0, CPU).key() != before


def test_a_teacher_that_was_changed_is_refused_and_other_cells_go_on(tiny, quick, tmp_path):
    fixed = protocol(tiny())
    run(fixed, "l1", seed=0)
    (kept,) = (tmp_path / "cache" / "teachers").glob("*.pt")
    held = torch.load(kept, weights_only=True)
    held["networks"][0]["head.bias"] += 1
    torch.save(held, kept)
    compression._teachers.clear()
    with pytest.raises(LTBenchError, match="has weights of hash .*, not .*; delete it, and it is"):
        run(fixed, "l1", seed=0)
    run(fixed, "l1", seed=1)
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(LTBenchError, match="cannot be read") as refusal:
        run(fixed, "l1", seed=0)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_pool_that_cannot_be_had_costs_the_cells_alone_that_need_it(tiny, quick):
    fixed = protocol(tiny(source="nowhere"))
    source = source_of(fixed)
    run(fixed, "kd", source=source)
    with pytest.raises(LTBenchError, match="unknown data set 'nowhere'"):
        run(fixed, "kd+oe-fsmc", source=source)


def test_a_pool_with_rows_of_the_test_split_is_refused(tiny, quick):
    fixed = protocol(tiny())
    source = source_of(fixed)
    test = split(fixed, source, 0).test()
    pool = torch.cat([source.pool, test.inputs[:3]])
    leaky = compression.Source(source.train, source.classes, pool=pool)
    with pytest.raises(LTBenchError, match="3 images of ood pool photographs are rows of the test"):
        run(fixed, "kd+oe-fsmc", source=leaky)
    run(fixed, "kd", source=leaky)


GREY = Rows(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))


def held(images):
    return lambda name: lambda: SimpleNamespace(train=Rows(images, torch.zeros(len(images))))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 1, 8, 8, dtype=torch.uint8), "has 3 images; 4 are asked for"),
        (torch.zeros(4, 2, 8, 8, dtype=torch.uint8), "uint8 [2, 8, 8]; it must hold grey or"),
        (torch.full((4, 1, 8, 8), 9.0), "holds torch.float32 [1, 8, 8]"),
        (torch.zeros(4, 64, dtype=torch.uint8), "it must hold grey or colour images of bytes"),
    ],
)
def test_a_pool_of_the_wrong_size_range_or_channels_is_refused(images, words):
    with pytest.raises(LTBenchError) as refusal:
        pools.read(Pool("others", "any", 4), GREY, held(images))
    assert words in str(refusal.value)


def test_a_pool_of_other_images_than_the_protocols_is_refused():
    with pytest.raises(LTBenchError, match="photographs has fingerprint .*, but the protocol is"):
        pools.read(Pool("photographs", "0" * 16, 4), GREY, held(None))


def test_colours_and_sizes_are_those_of_the_rows():
    red = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    red[:, 0] = 90
    ranged = Rows(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8), GREY.labels)
    grey = pools.read(Pool("others", "any", 4), ranged, held(red))
    # a third of 90 is 30, and 255 is the top of the range from -1 to 1
    assert torch.allclose(grey, torch.full((4, 1, 8, 8), 2 * 30 / 255 - 1))
    colour = Rows(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), GREY.labels)
    assert torch.equal(pools.read(Pool("others", "any", 4), colour, held(red)), red[..., :8, :8])


@pytest.mark.parametrize("source", ["photographs", "noise"])
def test_embedded_pools_are_the_same_each_time(source):
    pool = Pool(source, "any", 5)
    like = Rows(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 8, 8), GREY.labels)
    first, again = (pools.read(pool, like, held(None)) for _ in range(2))
    assert torch.equal(first, again)
    assert (first.amin(dim=(1, 2, 3)) >= 0).all()
    assert (first.amax(dim=(1, 2, 3)) <= 1).all()
    if source == "photographs":  # each is stretched from black to white
        assert (first.amax(dim=(1, 2, 3)) == 1).all()


class Asking(Method):
    """Looks at what a run supplies."""

    name = "asking"
    needs = frozenset({"teacher", "ood"})

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def build(self, model, run):
        granted = run.granted
        self.seen.append((run.counts.tolist(), len(run.train), tuple(granted.ood.shape)))
        assert granted.teacher is not model
        assert torch.equal(granted.teacher.head.weight, model.head.weight)
        assert not any(p.requires_grad for p in granted.teacher.parameters())
        return model

    def phases(self, plan, run):
        return []


def test_a_method_sees_a_copy_of_the_teacher_the_few_rows_and_the_pool(tiny, quick):
    method = Asking()
    outcome = run(protocol(tiny()), method)
    assert [len_rows for _, len_rows, _ in method.seen] == [20, 20]
    assert method.seen[0][0] == outcome.class_counts
    assert method.seen[1][0] == [2] * 10
    assert method.seen[0][2] == (30, 1, 8, 8)


def test_the_label_free_loss_of_others_is_asked_for_without_knowing_them():
    rows = rows_of(COUNTS)
    made = begun(rows)
    made.recipe = recovering("kd+oe-fsmc")
    inputs = rows.inputs[:8]
    asked = made.recipe.mimic(made.aside(inputs), inputs, made)
    made.recipe = recovering("kd")
    assert asked == made.recipe.mimic(made.aside(inputs), inputs, made)
    made.recipe = recovering("bp+oe-fsmc")
    assert made.recipe.mimic(made.aside(inputs), inputs, made) is None


def test_a_pass_aside_leaves_running_statistics_bit_by_bit():
    made = begun(rows_of(COUNTS))
    made.model.train()
    before = copy.deepcopy(made.model.state_dict())
    scores = made.aside(made.granted.ood).heads[0]
    after = made.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    # and the statistics are the batch's, not the running ones
    assert not torch.allclose(scores, copy.deepcopy(made.model).eval()(made.granted.ood))
    assert torch.equal(scores, made.model(made.granted.ood))


def test_a_run_writes_records_and_a_table(tiny, ltbench, tmp_path):
    path = tiny()
    path.write_text(path.read_text().replace("recipes =", 'contrasts = [["kd", "bp"]]\nrecipes ='))
    done = ltbench("run", path, "--seeds", 2, "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "*over bp*" in done.stdout
    assert "imbalance loss" in done.stdout
    assert "- `kd` over `bp`: " in done.stdout
    record = read(tmp_path / "leaderboards" / "tiny-compress" / "records" / "kd" / "seed-0.json")
    assert record.measures["parameters_left"] < 1
    assert record.details["twin"].keys() == set(NAMES)
    assert arrays_of(tmp_path / "leaderboards", record)["twin_predicted"].dtype == np.uint8
    board = json.loads(ltbench("leaderboard", path, "--format", "json").stdout)
    rows = {row["recipe"]: row for row in board["rows"]}
    assert rows["teacher"]["rank"] is None
    assert rows["kd"]["rank"] is not None
    loss, twin, own = (
        rows["kd"]["measures"][name]["mean"]
        for name in ("imbalance_loss", "twin", "balanced_accuracy")
    )
    assert loss == pytest.approx(twin - own, abs=1e-6)
    assert "latency" in ltbench("leaderboard", path, "--format", "csv").stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("of_b", "share"),
    [
        ((0.59, 0.6, 0.61), 0.5),  # 0.1 more of 0.2
        ((0.3, 0.9, 0.6), None),  # a cost that may be nothing
        ((0.6, 0.6, 0.6), None),  # seeds that do not spread
    ],
)
def test_the_recovered_share_is_that_of_what_imbalance_costs(of_b, share):
    from sample_record import RECORD

    fixed = msgspec.structs.replace(protocol("compress-digits"), contrasts=(("a", "b"),))
    found = [
        msgspec.structs.replace(
            RECORD, recipe=name, seed=seed, measures={"balanced_accuracy": value, "twin": 0.8}
        )
        for name, values in (("a", (0.7, 0.7, 0.7)), ("b", of_b))
        for seed, value in enumerate(values)
    ]
    board = build(installed().track("compression"), fixed, found)
    assert board.contrasts[0].recovered == (share and pytest.approx(share))
    losses = {row.recipe: row.measures["imbalance_loss"].mean for row in board.rows}
    assert losses == pytest.approx({"a": 0.1, "b": 0.2})


def test_what_only_tells_is_not_in_the_hash_and_the_pool_is():
    digits, replace = protocol("compress-digits"), msgspec.structs.replace
    assert replace(digits, contrasts=()).hash == digits.hash
    assert replace(digits, ood=Pool("noise", "any", 200)).hash != digits.hash


def test_held_out_marks_are_in_the_test_rows_of_the_check():
    fixed, source = marked()
    test = split(fixed, source, 0).test()
    assert (test.inputs[:, :, 0, 0] == 1000).all()


def test_imbalance_costs_and_other_images_help_the_rarest_classes(quick):
    """End to end on the digits; no overall gain of other images is asserted."""
    digits, replace = protocol("compress-digits"), msgspec.structs.replace
    digits = replace(digits, teacher=replace(digits.teacher, epochs=8))
    source, losses, gains = source_of(digits), [], []
    for seed in (20, 21):
        plain, helped = (
            run(digits, text, seed, source) for text in ("kd", "kd+oe-fsmc(patience=0.0)")
        )
        losses.append(plain.measures["twin"] - plain.measures["balanced_accuracy"])
        gains.append(helped.measures["few"] - plain.measures["few"])
    assert sum(losses) / 2 >= 0.03
    assert sum(gains) / 2 > 0


def test_the_test_split_is_read_once_and_after_training_also_for_a_pool(monkeypatch):
    order = []
    split, train = compression.split, compression.train

    def watched(*given):
        parts = split(*given)

        def test():
            order.append("test rows read")
            return parts.test()

        return replace(parts, test=test)

    def trained(*given):
        order.append("trained")
        return train(*given)

    monkeypatch.setattr(compression, "split", watched)
    monkeypatch.setattr(compression, "train", trained)
    small, dataset = marked()
    compression.run(small, recipe("kd+oe-fsmc"), 0, dataset, torch.device("cpu"))
    assert order[-1] == "test rows read"
    assert order.count("test rows read") == 1
