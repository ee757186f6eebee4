"""The track of domains and groups: its protocols, its rows, its cells and what they measure."""

import json

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from ltbench import LTBenchError, Method, Recipe, Rows, Unmet, protocol, recipe
from ltbench.datasets import Dataset, built_in
from ltbench.protocols.schema import Imbalance
from ltbench.registry.registry import installed
from ltbench.results.records import arrays_of, read_all
from ltbench.tracks.domains import metadata
from ltbench.tracks.domains.contract import cells_of
from ltbench.tracks.domains.cutting import cut, merged, seen_as, tails
from ltbench.tracks.domains.problem import Domain
from ltbench.tracks.domains.scores import cell_recalls, scored_cells
from ltbench.tracks.domains.track import begin, load, run
from ltbench.tracks.recognition.track import run as recognise

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = (
    "digits-domains",
    "digits-domains-held",
    "digits-groups",
    "digits-groups-validation",
    "mnist-domains",
    "mnist-groups",
    "rotated-mnist-mlt",
    "cifar10-domains",
    "cifar10-domains-short",
    "cifar10-jpeg-domains-short",
    "vlcs-mlt",
    "pacs-mlt",
    "officehome-mlt",
    "terraincognita-mlt",
    "domainnet-mlt",
    "waterbirds-groups",
    "celeba-groups",
)
HEAD = """
base = "digits-domains"
name = "small"
version = 1
description = "Domains, in a blink."
recipes = ["erm"]
seeds = 1

[budget]
epochs = 2

[network]
name = "mlp"
widths = [8]
"""


@pytest.fixture
def small(tmp_path):
    """A protocol of small digits, with more keys at its start or end."""

    def make(before="", after="", name="small"):
        path = tmp_path / f"{name}.toml"
        path.write_text(before + HEAD + after)
        return protocol(path)

    return make


def changed(given, table, **keys):
    inner = msgspec.structs.replace(getattr(given, table), **keys)
    return msgspec.structs.replace(given, **{table: inner})


def numbered():
    """The digits, each row's pixels replaced by its number, so that rows can be told apart."""
    numbers = torch.arange(float(len(DIGITS.train))) / 2000
    numbers = numbers.reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    return Dataset(Rows(numbers, DIGITS.train.labels), DIGITS.classes)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_protocol_is_read_and_names_recipes_that_exist(name):
    given = protocol(name)
    assert given.track == "domains"
    assert all(recipe(text) for text in given.recipes)


def test_tails_are_those_of_the_code_of_boda(small):
    exponential = [1000, 774, 599, 464, 359, 278, 215, 166, 129, 100]
    step = [1000] * 5 + [100] * 5
    given = changed(small(), "imbalance", n_max=1000, factor=10.0)
    given = msgspec.structs.replace(given, domains=(Domain("a"), Domain("b")))
    given = changed(given, "imbalance", class_order="label")
    for profile, tail in (("exponential", exponential), ("step", step)):
        domains = tuple(Domain(t, tail=t) for t in ("balanced", "forward", "backward"))
        asked = msgspec.structs.replace(
            changed(given, "imbalance", profile=profile), domains=domains
        )
        assert tails(asked, 10, 0).tolist() == [[1000] * 10, tail, tail[::-1]]


def test_backward_reverses_the_order_that_the_seed_drew_and_own_is_another(small):
    for seed in (0, 1):
        forward, backward, own = tails(small(), 10, seed)
        tail = sorted(forward, reverse=True)
        pairs = list(zip(forward, backward, strict=True))
        assert sorted(pairs) == sorted(zip(tail, tail[::-1], strict=True))
        assert sorted(own) == tail[::-1]
        assert (own != forward).any() and (own != backward).any()
    assert (tails(small(), 10, 0) != tails(small(), 10, 1)).any()


def test_each_image_is_in_one_domain_and_none_is_trained_and_tested_on(small):
    data = numbered()
    domains = tuple(Domain(name, tail=name) for name in ("forward", "backward", "own"))
    given = msgspec.structs.replace(small(), domains=domains, validation_per_cell=1)
    found = cut(changed(given, "data", fingerprint=data.fingerprint), data, 0)
    rows = [found.parts.train, found.parts.validation, found.parts.test()]
    train, validation, test = (
        [round(2000 * x) for x in r.inputs[:, 0, 0, 0].tolist()] for r in rows
    )
    assert len(set(train)) == len(train) == found.cells.sum() == 393
    assert len(validation) == 30 and len(test) == 1500 and len(set(test)) == 500
    assert not set(train) & set(test) and not set(validation) & set(train + test)
    for group, counts in enumerate(found.cells):
        labels = rows[0].labels[rows[0].groups == group]
        assert labels.bincount(minlength=10).tolist() == counts.tolist()
    assert (DIGITS.train.labels[train] == rows[0].labels).all()


def test_parted_test_images_are_shown_in_one_domain_each(small):
    data = numbered()
    given = changed(small(), "data", fingerprint=data.fingerprint, test_per_class=30)
    domains = tuple(Domain(name) for name in "abc")
    given = msgspec.structs.replace(given, tested="parted", domains=domains)
    test = cut(given, data, 0).parts.test()
    assert len(test) == len(set(test.inputs[:, 0, 0, 0].tolist())) == 300
    assert (test.groups * 10 + test.labels).bincount().tolist() == [10] * 30


def test_another_domain_is_held_out_with_each_seed(small):
    given = protocol("digits-domains-held")
    names = [cut(given, DIGITS, seed).names for seed in range(4)]
    assert [found[-1] for found in names] == ["right", "upright", "left", "right"]
    found = cut(given, DIGITS, 1)
    assert found.parts.train.groups.unique().tolist() == [0, 1]
    assert found.parts.test().groups.bincount().tolist() == [500] * 3
    assert found.cells[-1].sum() == 0 and len(found.seen) == 2


def test_domains_look_as_they_say():
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(seen_as(Domain("a"), images), images)
    torch.testing.assert_close(seen_as(Domain("a", colours="inverted"), images), 1 - images)
    turned = seen_as(Domain("a", turned=90.0), images)
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)))  # against the clock
    bytes_of = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(seen_as(Domain("a", colours="inverted"), bytes_of), 255 - bytes_of)
    grey = seen_as(Domain("a", colours="grey"), bytes_of)
    assert grey.shape == bytes_of.shape and grey.dtype == torch.uint8
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_classes_are_merged_under_new_names():
    found = merged(DIGITS, {"even": ("0", "2"), "odd": ("1",)})
    assert found.classes == ("even", "odd")
    counts = DIGITS.train.labels.bincount()
    assert found.train.labels.bincount().tolist() == [counts[0] + counts[2], counts[1]]


def test_recalls_are_told_by_cell():
    labels, groups = np.array([0, 0, 1, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    predicted = np.array([0, 1, 1, 0, 0, 1])
    recall = cell_recalls(labels, predicted, groups, (3, 2))
    np.testing.assert_array_equal(recall, [[0.5, 1], [1, 0.5], [np.nan, np.nan]])


def test_measures_over_cells_by_hand():
    recall = np.array([[0.9, 0.2], [0.6, 0.8]])
    scored = scored_cells(recall, np.array([[90, 0], [4, 6]]), (5, 50))
    assert scored == pytest.approx(
        {
            "mean_of_cells": 0.625,
            "worst_domain": 0.55,
            "worst_cell": 0.2,
            "worst_group": 0.2,
            "weighted_accuracy": (90 * 0.9 + 4 * 0.6 + 6 * 0.8) / 100,
            "many": 0.9,
            "medium": 0.8,
            "few": 0.6,
            "zero": 0.2,
        }
    )
    empty = np.array([[0.9, np.nan], [0.6, 0.8]])
    scored = scored_cells(empty, np.array([[90, 90], [4, 6]]), (5, 50))
    assert scored["mean_of_cells"] == pytest.approx((0.9 + 0.6 + 0.8) / 3)
    assert scored["many"] == 0.9 and scored["zero"] is None


def test_permuted_domains_and_labels_permute_the_measures():
    random = np.random.RandomState(0)
    labels, groups = random.randint(0, 4, 300), random.randint(0, 3, 300)
    predicted, cells = random.randint(0, 4, 300), random.randint(1, 60, (3, 4))
    plain = cell_recalls(labels, predicted, groups, (3, 4))
    classes, domains = random.permutation(4), random.permutation(3)
    renamed = cell_recalls(classes[labels], classes[predicted], domains[groups], (3, 4))
    np.testing.assert_array_equal(renamed[np.ix_(domains, classes)], plain)
    turned = np.zeros_like(cells)
    turned[np.ix_(domains, classes)] = cells
    first = scored_cells(plain, cells, (10, 40))
    assert first == pytest.approx(scored_cells(renamed, turned, (10, 40)))


def test_a_cell_keeps_what_recognition_keeps_and_the_domain_of_each_row(small):
    outcome = run(small(), recipe("erm"), 0, DIGITS, CPU)
    assert set(outcome.arrays) == {"labels", "predicted", "confidence", "outranking", "groups"}
    assert outcome.arrays["groups"].dtype == np.uint8
    details, arrays = outcome.details, outcome.arrays
    recall = cell_recalls(arrays["labels"], arrays["predicted"], arrays["groups"], (3, 10))
    assert details.recalls == recall.tolist()
    assert details.domains == ["upright", "turned", "inverted"]
    assert np.sum(details.rows) == 393 and np.sum(details.tested) == 1500
    assert outcome.measures["mean_of_cells"] == pytest.approx(recall.mean())
    assert outcome.measures["unseen"] is None and outcome.measures["zero"] is None
    assert outcome.class_counts == np.sum(details.rows, axis=0).tolist()


def test_the_unseen_domain_is_a_measure_of_its_own(small):
    given = msgspec.structs.replace(small(), held_out="seed")
    outcome = run(given, recipe("erm"), 2, DIGITS, CPU)
    recall = np.array(outcome.details.recalls)
    assert outcome.details.domains[-1] == "inverted"
    assert outcome.measures["unseen"] == pytest.approx(recall[2].mean())
    assert outcome.measures["mean_of_cells"] == pytest.approx(recall[:2].mean())
    seen = outcome.arrays["groups"] < 2
    right = outcome.arrays["labels"] == outcome.arrays["predicted"]
    assert outcome.measures["accuracy"] == pytest.approx(right[seen].mean())


class Watching(Method):
    """Sees what each hook is told of domains."""

    name = "watching"
    needs = frozenset({"groups"})

    def batch(self, batch, run):
        assert torch.equal(run.train.groups[batch.rows], batch.groups[0])
        return batch

    def adjust(self, scores, labels, run):
        cells = cells_of(run)
        assert (cells[run.groups, labels] > 0).all()
        assert torch.equal(cells, run.granted.cells)
        return scores

    def decide(self, scores, run):
        assert run.groups is None
        return scores.argmax(dim=1)


def test_training_rows_come_with_their_domains_and_test_rows_without(small):
    run(small(), Recipe(Watching()), 0, DIGITS, CPU)


class Parity(Method):
    """Holds that the groups of rows are those of the labels it is given."""

    name = "parity"
    needs = frozenset({"groups"})

    def adjust(self, scores, labels, run):
        assert torch.equal(run.groups, labels % 2)
        return scores


@pytest.mark.parametrize("text", ["mixup", "remix", "cmo(probability=1.0)", "rcal"])
def test_what_mixes_rows_tells_the_groups_of_each_label(small, text):
    labels = torch.arange(200) % 4
    inputs = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = Rows(inputs, labels, groups=labels % 2)
    data = Dataset(rows, tuple("abcd"), rows)
    given = changed(small(), "data", fingerprint="any", test_per_class=None)
    given = msgspec.structs.replace(given, domains=(), imbalance=Imbalance("source"))
    run(given, Recipe(*recipe(text).methods, Parity()), 0, data, CPU)


class Telling(Method):
    """Decides a row by its domain alone."""

    name = "telling"
    needs = frozenset({"groups", "test_groups"})

    def decide(self, scores, run):
        return run.groups


def test_who_asks_is_told_the_domain_of_each_test_row_and_that_is_noted(small):
    outcome = run(small(), Recipe(Telling()), 0, DIGITS, CPU)
    assert (outcome.arrays["predicted"] == outcome.arrays["groups"]).all()
    assert outcome.notes == ["it is told the group of each test row, which other recipes are not"]


def test_one_seed_gives_the_same_bits_twice(small):
    first, second = (run(small(), recipe("boda+rwg"), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    for name, kept in first.arrays.items():
        np.testing.assert_array_equal(kept, second.arrays[name])


@pytest.mark.parametrize("text", ["mixup", "remix", "cmo", "crt", "lws", "sam", "subg+crt"])
def test_methods_of_recognition_join_in(small, text):
    assert run(small(), recipe(text), 0, DIGITS, CPU).measures["mean_of_cells"] > 0


def test_other_tracks_skip_what_needs_groups_by_name():
    with pytest.raises(Unmet, match=r"digits-lt supplies no groups; subg needs that"):
        recognise(protocol("digits-lt"), recipe("subg"), 0, DIGITS, CPU)


def test_a_recipe_that_needs_two_classes_or_test_inputs_is_skipped_with_a_reason(small):
    with pytest.raises(Unmet, match="supplies no two_classes; fairopt needs that"):
        run(small(), recipe("fairopt"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="sade overrides adapt, which track domains never calls"):
        run(small(), recipe("sade"), 0, DIGITS, CPU)


def test_fitted_thresholds_of_groups_use_the_validation_rows(small):
    given = changed(protocol("digits-groups-validation"), "budget", epochs=2)
    data = load(installed(), given)[""]
    outcome = run(given, recipe("fairopt"), 0, data, CPU)
    assert any(note.startswith("offsets of the rarer class's score") for note in outcome.notes)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", '[[domains]]\nname = "a"', "one domain is none; state two or more"),
        ("", '[[domains]]\nname = "a"\n[[domains]]\nname = "a"', "two domains have one name"),
        ('held_out = "seed"', '[[domains]]\nname = "a"\n[[domains]]\nname = "b"', "three or more"),
        ("", '[merged]\neven = ["0", "2"]', "merged needs two new classes or more"),
        ("", "[data]\nlabel_noise = 0.1", "label_noise is not for this track"),
        ("", "[data]\nvalidation_share = 0.1", "validation_per_cell puts rows aside"),
        ("", '[[domains]]\nname = "a"\ncounts = [-1, 3]\n[[domains]]\nname = "b"', ">= 0"),
        ("", '[[domains]]\nname = "a"\ncolours = "red"\n[[domains]]\nname = "b"', "red"),
        (
            "",
            '[[domains]]\nname = "a"\ncounts = [1, 2]\n[[domains]]\nname = "b"\ncounts = [1]',
            "counts of two domains differ in their classes",
        ),
        (
            "",
            '[[domains]]\nname = "a"\ncounts = [1, 2]\n[[domains]]\nname = "b"\ncounts = [3, 4]',
            r"needs profile 'counts' with their sums, \[4, 6\]",
        ),
        ("", '[imbalance]\nprofile = "source"', "a source with groups of its own"),
        (
            "",
            '[imbalance]\nprofile = "step"\nn_max = 20\nfactor = 2\nclass_order = "label"\n'
            'draw = "seed"',
            "tail 'own' is drawn by the seed",
        ),
        ("domains = []", "", "a source with groups of its own needs profile 'source'"),
    ],
)
def test_what_a_protocol_cannot_mean_is_told_in_a_line(small, before, after, told):
    with pytest.raises(LTBenchError, match=told) as caught:
        small(before + "\n" if before else "", after)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"imbalance": {"n_max": 90}}, r"class \d of digits has 1\d\d rows; the domains of small"),
        ({"imbalance": {"factor": 400.0}}, "factor 400 leaves class 6 without rows"),
        ({"data": {"fingerprint": "other"}}, "digits has fingerprint c10b9250e22f3a67"),
        ({"data": {"test_per_class": None}}, "digits has no test split; mend test_per_class"),
    ],
)
def test_data_that_do_not_fit_are_told_in_a_line(small, keys, told):
    given = small()
    for table, changes in keys.items():
        given = changed(given, table, **changes)
    with pytest.raises(LTBenchError, match=told):
        begin(given, cut(given, DIGITS, 0), 0, CPU)


def with_counts(small, first, second):
    domains = (Domain("a", counts=first), Domain("b", counts=second))
    sums = [a + b for a, b in zip(first, second, strict=True)]
    given = changed(small(), "imbalance", profile="counts", counts=sums, n_max=None, factor=None)
    return msgspec.structs.replace(given, domains=domains)


def test_a_domain_without_a_class_is_noted_and_its_cell_is_one_without_rows(small):
    given = with_counts(small, (5,) * 10, (0, *[5] * 9))
    outcome = run(given, recipe("domain-resampling+boda"), 0, DIGITS, CPU)
    assert outcome.notes == ["domain b has no training rows of class 0"]
    assert outcome.measures["zero"] == outcome.details.recalls[1][0]


def test_a_domain_or_a_class_without_any_rows_is_refused(small):
    given = with_counts(small, (5,) * 10, (0,) * 10)
    with pytest.raises(LTBenchError, match="domain b of small has no training rows; drop it"):
        cut(given, DIGITS, 0)
    given = with_counts(small, (0, *[5] * 9), (0, *[5] * 9))
    with pytest.raises(LTBenchError, match="class 0 has no training rows in any domain"):
        cut(given, DIGITS, 0)


def test_counts_of_other_classes_than_the_source_has_are_refused(small):
    with pytest.raises(LTBenchError, match="counts 2 classes, but digits has 10"):
        cut(with_counts(small, (5, 5), (5, 5)), DIGITS, 0)


SOURCE = """
name = "own"
version = 1
track = "domains"
description = "Images of two places."
recipes = ["erm", "rwg"]
seeds = 1

[data]
source = "birds"
fingerprint = "any"

[metadata]
file = "birds.csv"
image = "path"
label = "kind"
group = "place"
split = "split"

[imbalance]
profile = "source"

[network]
name = "mlp"
widths = [8]

[budget]
epochs = 2
batch_size = 8
lr = 0.1
momentum = 0.9
nesterov = false
weight_decay = 5e-4
warmup = 0.1
decay = "cosine"
augmentation = "none"

[scoring]
metrics = ["worst_group", "mean_of_cells"]
shot_splits = [3, 6]

[compute]
threads = 1
"""
LINES = [
    *[("gull", "sea", "train")] * 6,
    *[("gull", "land", "train")] * 2,
    *[("wren", "land", "train")] * 5,
    *[("gull", "sea", "test"), ("gull", "land", "test")] * 2,
    *[("wren", "sea", "test"), ("wren", "land", "test")] * 2,
    *[("wren", "sea", "val")] * 3,
]


@pytest.fixture
def birds(tmp_path, monkeypatch):
    """A user's folder with images and a file that tells of each, and a protocol of it."""
    folder = tmp_path / "data" / "birds"
    (folder / "images").mkdir(parents=True)
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data"))
    random = np.random.RandomState(0)

    def make(lines=LINES, columns="path,kind,place,split", **names):
        told = [columns]
        for k, line in enumerate(lines):
            name = names.get("path", f"images/{k}.png")
            if len(line) == 3:
                pixels = random.randint(0, 256, (6, 6), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "images" / f"{k}.png")
            told.append(",".join([name, *line]))
        (folder / "birds.csv").write_text("\n".join(told))
        path = tmp_path / "own.toml"
        path.write_text(SOURCE)
        return protocol(path)

    return make


def test_groups_are_read_from_a_file_of_columns(birds):
    given = birds()
    data = load(installed(), given)[""]
    assert data.classes == ("gull", "wren") and data.group_names == ("land", "sea")
    assert data.train.groups.tolist() == [1] * 6 + [0] * 7
    assert data.notes == ("3 rows of birds.csv say 'val' in column 'split' and are not read",)
    outcome = run(given, recipe("rwg"), 0, data, CPU)
    assert outcome.details.domains == ["land", "sea"]
    assert outcome.details.rows == [[2, 5], [6, 0]]
    assert outcome.notes == ["domain sea has no training rows of class wren"]


def test_numbers_of_groups_are_in_the_order_of_numbers(birds):
    lines = [(kind, {"sea": "10", "land": "9"}[place], split) for kind, place, split in LINES]
    assert metadata.read(installed(), birds(lines)).group_names == ("9", "10")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"columns": "path,kind,where,split"}, "unknown column 'place'"),
        (
            {"lines": [(kind, "sea", split) for kind, _, split in LINES]},
            "column 'place' says 'sea' in every row; there is nothing to tell apart",
        ),
        (
            {"lines": [("gull", place, split) for _, place, split in LINES]},
            "column 'kind' says 'gull' in every row",
        ),
        ({"lines": []}, "column 'kind' has no rows"),
        ({"lines": LINES[:13]}, "no row has 'test' in column 'split'"),
        ({"lines": [*LINES, ("gull", "sea")]}, "line 26: expected 4 columns"),
        ({"path": "../../elsewhere.png"}, "points outside of"),
    ],
)
def test_what_is_wrong_with_a_file_of_columns_is_told_in_a_line(birds, given, told):
    with pytest.raises(LTBenchError, match=told) as caught:
        metadata.read(installed(), birds(**given))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told_with_the_way_out(birds, tmp_path):
    given = birds()
    (tmp_path / "data" / "birds" / "birds.csv").unlink()
    with pytest.raises(LTBenchError, match=r"birds\.csv cannot be read: .*; set LTBENCH_DATA"):
        metadata.read(installed(), given)


def test_a_source_without_groups_or_of_one_group_is_told_in_a_line(birds):
    given = birds()
    read = metadata.read(installed(), given)
    plain = [Rows(rows.inputs, rows.labels) for rows in (read.train, read.test)]
    with pytest.raises(LTBenchError, match="rows of birds have no groups; state"):
        cut(given, Dataset(plain[0], read.classes, plain[1]), 0)
    one = [Rows(r.inputs, r.labels, groups=torch.zeros_like(r.labels)) for r in plain]
    with pytest.raises(LTBenchError, match="all rows of birds are of one group"):
        cut(given, Dataset(one[0], read.classes, one[1]), 0)


def test_the_command_ends_bad_input_with_a_line_and_code_2(birds, tmp_path, ltbench):
    birds([(kind, "sea", split) for kind, _, split in LINES])
    done = ltbench("run", tmp_path / "own.toml", "--jobs", 1)
    assert done.exit_code == 2
    assert "column 'place' says 'sea' in every row" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("held_out", ["none", "seed"])
def test_every_measure_follows_from_what_a_record_keeps(small, held_out, ltbench, tmp_path):
    given = small(f'held_out = "{held_out}"')
    done = ltbench("run", tmp_path / "small.toml", "--jobs", 1, "--results", tmp_path / "out")
    assert done.exit_code == 0, done.output
    track = installed().track("domains")
    (record,) = read_all(tmp_path / "out", "small")
    followed = track.measured(given, record, arrays_of(tmp_path / "out", record))
    told = {**record.measures, **{f"recall {c}": r for c, r in enumerate(record.recall)}}
    assert followed.keys() == told.keys()
    for name, value in told.items():
        if value is None:
            assert followed[name] is None
        else:
            least, most = followed[name]
            assert least <= value <= most, name


def test_a_board_ranks_by_the_mean_of_cells_and_keeps_cells_in_its_records(
    small, ltbench, tmp_path
):
    small()
    words = ("-m", "domain-balanced-softmax", "--jobs", 1, "--results", tmp_path / "out")
    done = ltbench("run", tmp_path / "small.toml", *words)
    assert done.exit_code == 0, done.output
    assert "mean of cells" in done.output and "worst domain" in done.output
    record = json.loads(next((tmp_path / "out").rglob("seed-0.json")).read_text())
    assert record["details"]["domains"] == ["upright", "turned", "inverted"]
