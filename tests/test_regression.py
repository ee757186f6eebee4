"""Numbers as targets: how rows are cut, what methods of classes are given, and bad input."""

import pickle
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from msgspec import structs, to_builtins
from PIL import Image

from ltbench import LTBenchError, Method, Recipe, Rows, Unmet, protocol, recipe
from ltbench.commands.main import main
from ltbench.contract.context import Batch, Phase, Run
from ltbench.datasets import Dataset, built_in
from ltbench.datasets.tables import whole
from ltbench.registry.registry import Registry, installed
from ltbench.testing.report import Failure
from ltbench.tracks.regression import checks
from ltbench.tracks.regression.contract import Regression, ValueGrants, binned
from ltbench.tracks.regression.cutting import cut, load, of_names, of_table, turned
from ltbench.tracks.regression.learning import Valued
from ltbench.tracks.regression.problem import Values
from ltbench.tracks.regression.track import divide, measured, run
from ltbench.validation import convert

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "regression"]
RINGS = Values(kind="column", unit="rings", low=0.0, high=6.0, bins=6, column="rings")


def short(name="digits-rotation-lt", epochs=2, **more):
    given = protocol(name)
    return structs.replace(given, budget=structs.replace(given.budget, epochs=epochs), **more)


def shells(rings=None):
    """A small table of shells, of which few have many rings."""
    rings = [*[1] * 30, *[2] * 20, *[3] * 9, *[5] * 4] if rings is None else rings
    chance = np.random.default_rng(0)
    sex = [("M", "F", "I")[k % 3] for k in range(len(rings))]
    height = np.sort(chance.normal(size=len(rings)))
    return pd.DataFrame({"sex": sex, "height": height, "rings": rings})


def of_shells(frame=None, **more):
    """A short protocol of that table, and its rows."""
    dataset = of_table(whole(shells() if frame is None else frame), RINGS, "shells")
    given = short("abalone-dir", values=structs.replace(RINGS, **more))
    data = structs.replace(given.data, fingerprint="any", test_per_class=3)
    return structs.replace(given, data=data), dataset


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


def test_no_image_is_turned_twice_and_none_is_trained_and_tested_on():
    numbered = torch.arange(float(len(DIGITS.train))).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    fixed = structs.replace(short(), data=structs.replace(short().data, fingerprint="any"))
    rows = Dataset(Rows(numbered, DIGITS.train.labels), DIGITS.classes)
    for seed in (0, 1):
        parts = cut(fixed, rows, seed)
        centres = [part.inputs[:, 0, 4, 4].round().tolist() for part in (parts.train, parts.test())]
        assert [*map(len, centres)] == [1336, 450]
        assert len({*centres[0], *centres[1]}) == 1786


def test_bins_fall_and_the_end_that_is_frequent_alternates():
    fixed = short()
    for seed in (0, 1, 2, 3):
        parts = cut(fixed, DIGITS, seed)
        told = binned(parts.train.labels, fixed.values.edges).bincount(minlength=30).tolist()
        assert told == parts.class_counts
        assert (sorted(told, reverse=True) == told) == (seed % 2 == 0)
        assert (max(told), min(told), sum(told)) == (200, 2, 1336)
        assert sum(n > 100 for n in told) == 5 and sum(n < 20 for n in told) == 15


def test_test_angles_are_even_and_each_bin_has_as_many():
    fixed = short()
    angles = cut(fixed, DIGITS, 0).test().labels
    torch.testing.assert_close(angles.diff(), torch.full((449,), 0.2, dtype=torch.float64))
    assert set(binned(angles, fixed.values.edges).bincount().tolist()) == {15}


def test_images_are_turned_to_the_left():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 4] = 1.0
    left, right = turned(image.expand(2, -1, -1, -1), torch.tensor([90.0, -90.0]))
    assert left[0, 0, 2].item() == pytest.approx(1, abs=1e-5)  # from the right to the top
    assert right[0, 4, 2].item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(turned(image, torch.zeros(1)), image)
    whole_bytes = (255 * image).to(torch.uint8)
    assert torch.equal(turned(whole_bytes, torch.zeros(1)), image)


def test_a_value_on_a_border_is_of_the_bin_above_also_once_it_is_standardised():
    edges = torch.arange(0, 101, dtype=torch.float64)
    values = torch.arange(100, dtype=torch.float64)
    granted = ValueGrants(edges=edges, mean=31.7, deviation=17.3)
    standardised = ((values - 31.7) / 17.3).float()
    assert torch.equal(granted.bins(standardised), torch.arange(100))
    assert binned(torch.tensor([-3.0, 100.0, 250.0]), edges).tolist() == [0, 99, 99]
    torch.testing.assert_close(granted.centres * 17.3 + 31.7, values + 0.5)


def test_a_table_gives_numbers_and_a_column_for_each_word():
    found = of_table(whole(shells()), RINGS, "shells")
    assert found.train.shape == (4,)
    assert found.train.inputs[:3, :3].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # F, I, M
    assert found.train.labels.dtype == torch.float64 and found.class_counts == []


def test_each_bin_of_a_table_gives_test_rows_but_no_more_than_a_third():
    fixed, dataset = of_shells()
    parts = cut(fixed, dataset, 0)
    assert parts.class_counts == [0, 27, 17, 6, 0, 3]
    tested = binned(parts.test().labels, RINGS.edges).bincount(minlength=6)
    assert tested.tolist() == [0, 3, 3, 3, 0, 1]
    rows = torch.cat([parts.train.inputs, parts.test().inputs])
    assert len(rows.unique(dim=0)) == len(dataset.train)


def test_columns_are_standardised_by_training_rows_and_values_too():
    given = divide(*of_shells()[:1], 0, of_shells()[1], frozenset()).given
    torch.testing.assert_close(given.train.inputs.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    assert given.train.labels.mean().abs() < 1e-5
    assert given.train.labels.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    travelled = pickle.loads(pickle.dumps(given))
    assert torch.equal(travelled.train.labels, given.train.labels)


def test_classes_that_are_called_by_numbers_have_values():
    rows = Rows(torch.zeros(3, 1, 4, 4), torch.tensor([0, 1, 1]))
    ages = Values(kind="names", unit="years", low=0.0, high=100.0, bins=100)
    found = of_names(Dataset(rows, ("7", "61"), rows), ages, "faces")
    assert found.train.labels.tolist() == [7, 61, 61] == found.test.labels.tolist()
    with pytest.raises(LTBenchError, match="class 'old' of faces is called by no number"):
        of_names(Dataset(rows, ("7", "old")), ages, "faces")


def test_a_folder_for_each_age_is_a_source(tmp_path):
    for age, images in ((7, 6), (31, 3), (90, 1)):
        (tmp_path / str(age)).mkdir()
        for k in range(images):
            Image.new("RGB", (9, 9), (age, k, 0)).save(tmp_path / str(age) / f"{k}.png")
    registry = Registry(data={"agedb": tmp_path})
    fixed = registry.protocol("agedb-dir")
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, size=8))
    (dataset,) = load(registry, fixed).values()
    parts = cut(fixed, dataset, 0)
    assert sorted(parts.train.labels.tolist()) == [7] * 4 + [31] * 2 + [90]
    assert sorted(parts.test().labels.tolist()) == [7, 7, 31]
    assert torch.equal(parts.train.inputs[:, 0, 0, 0].double(), parts.train.labels)
    assert [parts.class_counts[age - 1] for age in (7, 31, 90)] == [4, 2, 1]


def test_validation_rows_are_the_last_of_each_bin():
    fixed, dataset = of_shells()
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, validation_share=0.2))
    parts = cut(fixed, dataset, 0)
    assert parts.class_counts == [0, 22, 14, 5, 0, 3] and len(parts.validation) == 5 + 3 + 1


@pytest.mark.parametrize("text", ["erm", "fds+lds", "ranksim+smoter", "balanced-mse+rrt", "srl"])
def test_one_seed_gives_the_same_bits(text):
    first, second = (run(short(), recipe(text), 3, DIGITS, CPU) for _ in range(2))
    assert np.array_equal(first.arrays["said"], second.arrays["said"])
    assert first.measures == second.measures


def test_what_is_said_stands_beside_its_value():
    found = run(short(epochs=20), recipe("erm"), 0, DIGITS, CPU)
    correlation = np.corrcoef(found.arrays["values"], found.arrays["said"])[0, 1]
    assert correlation > 0.8
    error = np.abs(found.arrays["values"] - found.arrays["said"])
    assert found.measures["balanced_mae"] == pytest.approx(error.mean(), rel=1e-5)


def test_measures_follow_from_what_is_kept():
    fixed = short()
    outcome = run(fixed, recipe("lds"), 0, DIGITS, CPU)
    found = measured(fixed, outcome, outcome.arrays)  # an outcome has what is asked of a record
    assert found.keys() == outcome.measures.keys()
    for name, (least, most) in found.items():
        assert least <= outcome.measures[name] <= most


def test_an_even_test_split_has_one_mean():
    found = run(short(), recipe("erm"), 0, DIGITS, CPU).measures
    assert found["balanced_mae"] == pytest.approx(found["mae"])


class Seen(Method):
    """Keeps what hooks are given."""

    name = "seen"

    def __init__(self):
        self.given = {}

    def sampling_weights(self, labels, run):
        self.given["sampling_weights"] = labels
        return (1 / labels.bincount(minlength=run.num_classes))[labels]

    def weight(self, labels, run):
        self.given["weight"] = labels
        return torch.ones(len(labels))

    def resample(self, train, run):
        self.given["resample"] = train.labels
        return train


def started(values, counts):
    """A run with bins one wide, of which the first begins at 0."""
    counts = torch.tensor(counts, dtype=torch.float32)
    edges = torch.arange(len(counts) + 1, dtype=torch.float64)
    return Run(
        counts=counts,
        seen=counts / counts.sum(),
        progress=torch.zeros(()),
        phase=Phase("main", 1, lr=0.1, weight_decay=0.0),
        granted=ValueGrants(edges=edges, mean=0.0, deviation=1.0),
        train=Rows(torch.zeros(len(values), 2), values),
    )


def test_methods_of_classes_are_given_bins_and_rows_keep_their_values():
    values = torch.tensor([0.5, 2.5, 2.7, 1.1])
    seen = Seen()
    valued, at = Valued(seen), started(values, [1, 1, 2])
    assert torch.equal(valued.resample(at.train, at).labels, values)
    valued.sampling_weights(values, at)
    valued.prepare(at)
    valued.weight(values, at)
    for given in seen.given.values():
        assert given.tolist() == [0, 2, 2, 1]
    torch.testing.assert_close(at.seen, torch.full((3,), 1 / 3))  # as the draw presents bins


def test_classes_of_bins_are_kept_by_undersampling_with_their_values():
    values = torch.tensor([0.1, 0.2, 0.3, 0.4, 1.5, 1.6])
    at = started(values, [4, 2])
    found = Valued(recipe("undersampling").methods[0]).resample(at.train, at)
    assert found.groups is None
    assert binned(found.labels, at.granted.edges).bincount().tolist() == [2, 2]
    assert {*found.labels.tolist()} <= {*values.tolist()}


def test_an_even_draw_leaves_weights_by_counts_nothing_to_correct():
    values = torch.cat([torch.linspace(0.1, 0.9, 9), torch.tensor([1.5, 2.5])])
    weights = {}
    for text in ("lds(size=1)", "lds(size=1)+oversampling"):
        valued, at = Valued(*recipe(text).methods), started(values, [9, 1, 1])
        valued.sampling_weights(values, at)
        valued.prepare(at)
        weights[text] = valued.weight(values, at)
    assert weights["lds(size=1)"].unique().numel() == 2
    torch.testing.assert_close(weights["lds(size=1)+oversampling"], torch.ones(11))


@pytest.mark.parametrize("text", ["mixup", "sam", "muon", "crt", "progressive-sampling+lds"])
def test_methods_of_recognition_that_ask_nothing_of_classes_serve_here(text):
    found = run(short(), recipe(text), 0, DIGITS, CPU)
    assert np.isfinite(found.arrays["said"]).all()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("logit-adjustment", Unmet, "logit-adjustment overrides adjust, which is for classes"),
        ("focal", Unmet, "focal overrides criterion, which is for classes"),
        ("lds+tau-norm", Unmet, "tau-norm overrides finish, which is for classes"),
        ("fixmatch", Unmet, "digits-rotation-lt supplies no pool; fixmatch needs that"),
        ("smote", LTBenchError, "smote makes rows of a class, whose value nobody knows"),
        ("remix", LTBenchError, "remix takes the targets of a batch for classes"),
        ("fds+mixup", LTBenchError, "fds needs the value of each row"),
        ("imbsam", LTBenchError, "a step that takes classes apart needs a class for each row"),
        ("smoter(rule='relevance')+undersampling", None, ""),
    ],
)
def test_what_serves_no_numbers_is_refused_by_name(text, error, words):
    if error is None:
        assert run(short(), recipe(text), 0, DIGITS, CPU).measures
        return
    with pytest.raises(error, match=re.escape(words)):
        run(short(), recipe(text), 0, DIGITS, CPU)


def test_methods_of_numbers_are_skipped_where_rows_have_classes():
    track = installed().track("recognition")
    with pytest.raises(Unmet, match="digits-lt supplies no values; lds needs that"):
        track.run(protocol("digits-lt"), recipe("lds"), 0, DIGITS, CPU)


def test_two_criteria_are_refused():
    with pytest.raises(LTBenchError, match="both decide the criterion"):
        recipe("mse+focal-r")


def rings_with(position, value):
    rings = [float(one) for one in shells().rings]
    rings[position] = value
    return shells(rings)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (rings_with(4, np.nan), "row 4 of shells has the value nan, no finite number (of 1 such"),
        (rings_with(4, np.inf), "row 4 of shells has the value inf, no finite number"),
        (shells([3] * 12), "all 12 values of shells are 3; nothing is to be learned"),
        (rings_with(7, 6.5), "row 7 of shells has the value 6.5 rings, outside of the bins"),
        (shells().assign(rings="many"), "column 'rings' of shells holds 'many'; values are"),
        (shells().assign(height=np.nan), "column 'height' of shells is empty in row 0"),
        (shells()[["rings"]], "shells has no column beside 'rings'"),
        (shells().drop(columns="rings"), "unknown column 'rings'"),
    ],
)
def test_tables_without_values_to_learn_are_refused(frame, words):
    with pytest.raises(LTBenchError, match=re.escape(words)):
        of_table(whole(frame), RINGS, "shells")


def test_bins_of_which_one_alone_has_rows_are_refused():
    fixed, dataset = of_shells(high=600.0)
    words = "all training rows of abalone-dir lie in bin 0 (0 to 100) of 6; bins tell nothing apart"
    with pytest.raises(LTBenchError, match=re.escape(words)):
        cut(fixed, dataset, 0)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("test_per_class", 100, "digits has 1797 images; digits-rotation-lt turns 4336 of them"),
        ("fingerprint", "0" * 16, "but digits-rotation-lt is fixed to 0000000000000000"),
        ("test_per_class", None, "angles are drawn; state test_per_class at data"),
    ],
)
def test_images_that_do_not_fit_are_refused(key, value, words):
    fixed = short()
    with pytest.raises(LTBenchError, match=re.escape(words)):
        cut(structs.replace(fixed, data=structs.replace(fixed.data, **{key: value})), DIGITS, 0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"values": {"low": 50.0}}, "low 50.0 must be below high 45.0"),
        ({"values": {"column": "x"}}, "kind 'column' alone needs column"),
        ({"values": {"bins": 1}}, "bins"),
        ({"data": {"label_noise": 0.1}}, "label_noise is not for this track"),
        ({"data": {"classes": ["1", "2"]}}, "classes is not for this track"),
        ({"imbalance": {"profile": "source", "n_max": None, "factor": None}}, "angles are drawn"),
    ],
)
def test_protocols_that_make_no_sense_are_refused(changed, words):
    content = to_builtins(protocol("digits-rotation-lt"))
    content.pop("track")
    for table, keys in changed.items():
        content[table] = {k: v for k, v in {**content[table], **keys}.items() if v is not None}
    with pytest.raises(LTBenchError, match=re.escape(words)):
        convert("p.toml", content, type(protocol("digits-rotation-lt")))


PROTOCOL = """
name = "shells"
base = "abalone-dir"
[data]
source = "shells"
fingerprint = "any"
test_per_class = 3
[values]
column = "rings"
low = 0.0
high = 6.0
bins = 6
[budget]
epochs = 1
"""


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (shells(), ""),
        (rings_with(4, np.nan), "row 4 of shells has the value nan"),
        (shells([3] * 12), "all 12 values of shells are 3"),
        (shells([1] * 30 + [1.2] * 9), "all training rows of shells lie in bin 1 (1 to 2) of 6"),
    ],
)
def test_a_table_of_the_user_s_own_is_run_or_refused_in_a_line(tmp_path, frame, words):
    frame.to_csv(tmp_path / "shells.csv", index=False)
    (tmp_path / "shells.toml").write_text(PROTOCOL)
    data = ["--data", f"shells={tmp_path / 'shells.csv'}"]
    words_given = ["run", str(tmp_path / "shells.toml"), "-m", "lds", "--seeds", "1", *data]
    done = CliRunner().invoke(
        main, [*words_given, "--jobs", "1", "--results", str(tmp_path / "results")]
    )
    if words:
        assert done.exit_code == 2, done.output
        assert words in " ".join(done.output.split()) and "Traceback" not in done.output
    else:
        assert done.exit_code == 0, done.output
        assert "| `lds` " in (tmp_path / "results" / "shells" / "table.md").read_text()


def test_a_table_that_is_nowhere_is_told_of():
    fixed = structs.replace(short("abalone-dir"))
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, source="shells"))
    with pytest.raises(LTBenchError, match="unknown table 'shells'.*--data shells=FILE"):
        load(installed(), fixed)


class ByUnit(Regression):
    """Weighs rows by their value in the protocol's unit."""

    name = "by-unit"

    def criterion(self, scores, labels, run):
        unit = run.granted.deviation
        return (scores[:, 0] - labels).abs() * torch.sigmoid(unit * labels)


def test_the_check_of_units_finds_what_depends_on_them():
    with pytest.raises(Failure, match="values in half the unit"):
        checks.units_do_not_matter(Recipe(ByUnit()))
    checks.units_do_not_matter(recipe("focal-r"))


def test_rows_to_test_on_are_looked_for(monkeypatch):
    checks.test_rows_stay_out(recipe("lds"))
    whole_cut = checks.divide

    def leaking(protocol, seed, dataset, needs):
        divided = whole_cut(protocol, seed, dataset, needs)
        given = replace(divided.given, train=divided.given.train[torch.arange(3)])
        return replace(divided, given=given)

    monkeypatch.setattr(checks, "divide", leaking)  # which takes more rows for held out
    with pytest.raises(Failure, match="held-out ones reached"):
        checks.test_rows_stay_out(recipe("lds"))


def test_recipes_without_numbers_are_none_of_this_track_s_to_check():
    assert not checks.checks(recipe("erm")) and not checks.checks(recipe("fixmatch"))
    assert checks.checks(recipe("lds+mixup"))


def test_targets_that_are_mixed_are_those_of_a_batch():
    batch = Batch(torch.zeros(2, 2), [(torch.tensor([0.5, 1.5]), 1.0)], torch.arange(2))
    at = started(torch.tensor([0.5, 1.5]), [1, 1])
    mixed = Valued(recipe("mixup").methods[0]).batch(batch, at)
    assert {*torch.cat([values for values, _ in mixed.targets]).tolist()} == {0.5, 1.5}
