"""Detection: which boxes are kept and right, scenes, one detector for all, a user's files."""

import json
import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from msgspec import structs

from ltbench import LTBenchError, Method, Recipe, Unmet, protocol, recipe
from ltbench.datasets import built_in
from ltbench.registry.registry import installed
from ltbench.tracks.detection import checks, detector, files
from ltbench.tracks.detection.boxes import Boxes, by_picture, overlaps
from ltbench.tracks.detection.cutting import cut
from ltbench.tracks.detection.problem import Keep
from ltbench.tracks.detection.scenes import (
    in_scenes,
    in_turn,
    law_of,
    overlapped,
    places,
    rows_of,
    scenes_of,
    windows_of,
)
from ltbench.tracks.detection.scores import average_precisions, kept, recalls, right, scored
from ltbench.tracks.detection.stored import checked
from ltbench.tracks.detection.storing import stored_of, write
from ltbench.tracks.detection.track import divide, measured, run

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "detection"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))


def short(name="digits-detection-lt", **more):
    """A protocol of fewer scenes, whose detector is trained for two epochs."""
    given = protocol(name)
    scenes = structs.replace(given.scenes, train=60, test=12, each=3, background=4)
    imbalance = structs.replace(given.imbalance, n_max=40, factor=10)
    budget = structs.replace(given.budget, epochs=2, batch_size=64)
    network = {"name": "mlp", "widths": [16]}
    changed = {"scenes": scenes, "imbalance": imbalance, "budget": budget, "network": network}
    return structs.replace(given, **{**changed, **more})


def boxes(*rows):
    """Boxes of (picture, left, top, right, bottom, class)."""
    told = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Boxes(told[:, 0].astype(int), told[:, 1:5], told[:, 5].astype(int))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


# Overlap, matching and average precision, worked by hand.


def test_overlaps_are_worked_by_hand():
    one = np.array([0.0, 0.0, 8.0, 8.0])
    others = np.array([[0, 0, 8, 8], [4, 0, 12, 8], [2, 2, 10, 10], [8, 0, 16, 8], [0, 0, 4, 4]])
    found = overlaps(one, others.astype(float))
    assert found.tolist() == pytest.approx([1, 32 / 96, 36 / 92, 0, 16 / 64])
    nothing = np.zeros(4)
    assert overlaps(nothing, nothing) == 0


def test_boxes_of_a_picture_stand_in_its_row():
    found = by_picture(np.array([2, 0, 2, 0, 2]), 4)
    assert found.tolist() == [[1, 3, -1], [-1, -1, -1], [0, 2, 4], [-1, -1, -1]]


def test_one_box_of_the_truth_is_found_once_and_by_the_best():
    truth = boxes((0, 0, 0, 8, 8, 1))
    found = boxes((0, 1, 0, 9, 8, 1), (0, 0, 0, 8, 8, 1), (0, 0, 0, 8, 8, 0), (1, 0, 0, 8, 8, 1))
    assert right(found, truth, 2).tolist() == [True, False, False, False]


def test_a_box_takes_what_it_overlaps_most_of_what_is_left():
    truth = boxes((0, 0, 0, 8, 8, 0), (0, 2, 0, 10, 8, 0))
    first, second = (0, 2, 0, 10, 8, 0), (0, 1, 0, 9, 8, 0)
    assert right(boxes(first, second), truth, 1).tolist() == [True, True]
    # the first takes the box that the second would have overlapped by half; the other it does not
    far = boxes((0, 0, 0, 8, 8, 0), (0, 6, 0, 14, 8, 0))
    assert right(boxes((0, 1, 0, 9, 8, 0), (0, 0, 0, 8, 8, 0)), far, 1).tolist() == [True, False]


def test_half_is_enough_and_less_is_not():
    truth = boxes((0, 0, 0, 8, 9, 0))
    assert right(boxes((0, 0, 3, 8, 12, 0)), truth, 1).tolist() == [True]  # 48 of 96
    assert right(boxes((0, 0, 3.1, 8, 12.1, 0)), truth, 1).tolist() == [False]


def test_average_precision_is_worked_by_hand():
    # of class 0, four boxes of the truth; right, wrong, right, wrong, right: recall 3 / 4.
    hits = np.array([True, False, True, False, True])
    found = average_precisions(hits, np.zeros(5, int), np.array([4]))
    # precision 1 up to recall 1/4 (26 points), 2/3 up to 1/2 (25), 3/5 up to 3/4 (25), then 0
    assert found[0] == pytest.approx((26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101)


def test_a_later_better_precision_counts_for_lower_recall():
    hits = np.array([False, True, True])
    found = average_precisions(hits, np.zeros(3, int), np.array([2]))
    assert found[0] == pytest.approx(2 / 3)


def test_classes_do_not_mix_and_one_without_truth_has_none():
    hits = np.array([True, False, True, False])
    labels = np.array([1, 0, 0, 3])
    found = average_precisions(hits, labels, np.array([1, 1, 2, 0]))
    assert found[:3].tolist() == pytest.approx([0.5, 1.0, 0.0])
    assert math.isnan(found[3])
    told = recalls(hits, labels, np.array([1, 1, 2, 0]))
    assert told[:3].tolist() == [1.0, 1.0, 0.0] and math.isnan(told[3])


def test_nothing_found_is_a_precision_of_zero():
    none = boxes()
    truth = boxes((0, 0, 0, 8, 8, 0))
    assert right(none, truth, 1).tolist() == []
    found = average_precisions(np.zeros(0, bool), np.zeros(0, int), np.array([1, 0]))
    assert found[0] == 0 and math.isnan(found[1])


def slowly(hits, labels, total):
    """Average precision with loops, as COCO reads it."""
    found = []
    for c, number in enumerate(total):
        mine = [hit for hit, label in zip(hits, labels, strict=True) if label == c]
        curve = [
            (sum(mine[: k + 1]) / number, sum(mine[: k + 1]) / (k + 1)) for k in range(len(mine))
        ]
        points = [
            max((p for recall, p in curve if recall * 100 >= point - 1e-9), default=0)
            for point in range(101)
        ]
        found.append(sum(points) / 101)
    return found


def test_average_precision_is_that_of_a_slow_count():
    chance = np.random.RandomState(0)
    labels = chance.randint(0, 6, 300)
    hits = chance.rand(300) < 0.4
    total = np.array([hits[labels == c].sum() + c + 1 for c in range(6)])
    assert average_precisions(hits, labels, total) == pytest.approx(slowly(hits, labels, total))


def test_kept_boxes_are_worked_by_hand():
    proposals = boxes(
        (0, 0, 0, 8, 8, -1), (0, 1, 0, 9, 8, -1), (0, 20, 0, 28, 8, -1), (1, 0, 0, 8, 8, -1)
    )
    scores = np.array([[0.9, 0.05], [0.8, 0.7], [0.3, 0.0005], [0.0002, 0.6]])
    found = kept(scores, proposals, 2, Keep(most=3, overlap=0.3, floor=1e-3))
    # the second proposal goes for class 0, not for class 1, of which the first then goes
    assert found.pictures.tolist() == [0, 0, 1, 0]
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.corners[:, 0].tolist() == [0, 1, 0, 20]
    two = kept(scores, proposals, 2, Keep(most=2, overlap=0.3, floor=1e-3))
    assert two.pictures.tolist() == [0, 0, 1]
    every = kept(scores, proposals, 2, Keep(most=9, overlap=1.0, floor=1e-3))
    assert len(every) == 6


def kept_slowly(scores, proposals, pictures, keep):
    """Non-maximum suppression with loops: classes apart, then the best of a picture."""
    found = []
    for picture in range(pictures):
        mine = []
        for c in range(scores.shape[1]):
            order = [
                p
                for p in np.argsort(-scores[:, c], kind="stable")
                if proposals.pictures[p] == picture and scores[p, c] >= keep.floor
            ]
            left = []
            for p in order:
                alike = [overlaps(proposals.corners[p], proposals.corners[q]) for q in left]
                if all(one <= keep.overlap for one in alike):
                    left.append(p)
            mine += [(scores[p, c], p, c) for p in left]
        found += sorted(mine, key=lambda one: -one[0])[: keep.most]
    found.sort(key=lambda one: -one[0])
    return [(int(p), int(c)) for _, p, c in found]


def test_kept_boxes_are_those_of_a_slow_suppression(monkeypatch):
    chance = np.random.RandomState(1)
    corners = chance.rand(120, 2) * 30
    proposals = Boxes(
        chance.randint(0, 5, 120), np.concatenate([corners, corners + 8], axis=1), np.arange(120)
    )
    scores, keep = chance.rand(120, 3), Keep(most=7, overlap=0.3, floor=0.2)
    for at_once in (2**23, 1):  # all pictures together, and one after the other
        monkeypatch.setattr("ltbench.tracks.detection.scores.AT_ONCE", at_once)
        found = kept(scores, proposals, 6, keep)
        wanted = kept_slowly(scores, proposals, 6, keep)
        assert found.labels.tolist() == [c for _, c in wanted]
        assert np.array_equal(found.corners, proposals.corners[[p for p, _ in wanted]])


def test_measures_of_groups_are_worked_by_hand():
    precision, recall = np.array([0.8, 0.6, np.nan, 0.1]), np.array([1.0, 0.5, np.nan, 0.2])
    told = scored(precision, recall, [90, 20, 10, 3], (5, 50), [False, True, False, True])
    assert told == {
        "ap": pytest.approx(0.5),
        "many": 0.8,
        "medium": 0.6,
        "few": 0.1,
        "uniform": 0.8,
        "clustered": pytest.approx(0.35),
        "average_recall": pytest.approx(17 / 30),
        "few_recall": 0.2,
    }
    assert scored(precision, recall, [9] * 4, (5, 50), [])["clustered"] is None


# Scenes and windows.


def test_scenes_have_as_many_boxes_as_are_stated():
    train, test, law = scenes_of(short(), DIGITS, 0)
    counts = train.boxes.counts(10)
    assert sorted(counts, reverse=True) == short().imbalance.class_counts([0] * 10)
    assert test.boxes.counts(10).tolist() == [3] * 10
    assert np.bincount(train.boxes.pictures).max() <= 5
    assert law.clustered[torch.from_numpy(counts).argsort(descending=True)].tolist() == [
        *([False, True] * 5)
    ]
    assert train.images.shape == (60, 1, 48, 48)


def test_boxes_lie_within_scenes_and_those_of_a_cluster_around_its_point():
    fixed = short()
    fixed = structs.replace(fixed, imbalance=structs.replace(fixed.imbalance, factor=1.0),
                            scenes=structs.replace(fixed.scenes, train=200))  # fmt: skip
    train, test, law = scenes_of(fixed, DIGITS, 1)
    corners = train.boxes.corners
    assert corners.min() >= 0 and corners.max() <= 48
    assert ((corners[:, 2:] - corners[:, :2]) == 8).all()
    for one in (train, test):
        middle = (one.boxes.corners[:, :2] + one.boxes.corners[:, 2:]) / 2
        away = np.abs(middle - law.points.numpy()[one.boxes.labels]).mean(axis=1)
        near = law.clustered.numpy()[one.boxes.labels]
        assert away[near].mean() < 5 < 9 < away[~near].mean()


def test_no_image_stands_in_scenes_of_both_kinds(monkeypatch):
    numbered = torch.arange(1.0, len(DIGITS.train) + 1).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    rows = replace(DIGITS, train=replace(DIGITS.train, inputs=numbered))
    quiet = short()
    quiet = structs.replace(quiet, scenes=structs.replace(quiet.scenes, noise=0.0))
    train, test, _ = scenes_of(quiet, rows, 0)
    first, second = ({*one.images.unique().tolist()} - {0} for one in (train, test))
    assert first and second and not first & second


def test_images_come_in_turn():
    lists = [torch.tensor([7, 8]), torch.tensor([3])]
    found = in_turn(lists, torch.tensor([0, 1, 0, 1, 0]))
    assert found.tolist() == [7, 3, 8, 3, 7]


def test_slots_of_scenes_hold_every_box_once():
    chance = torch.Generator().manual_seed(0)
    found = in_scenes(torch.tensor([5, 0, 2]), 4, 3, chance)
    assert found.shape == (4, 3)
    assert found.flatten().add(1).bincount().tolist() == [5, 5, 0, 2]


def test_windows_stand_where_their_boxes_are():
    scenes = short().scenes
    images = torch.arange(2 * 48 * 48.0).view(2, 1, 48, 48)
    found, grid = windows_of(images, scenes), places(scenes).astype(int)
    assert found.shape == (2, len(grid), 1, 12, 12)
    for g in (0, 5, 440):
        left, top = grid[g, :2]
        inner = found[1, g, 0, 2:10, 2:10]
        assert torch.equal(inner, images[1, 0, top : top + 8, left : left + 8])
    assert (found[0, 0, 0, :2] == 0).all()  # beyond the border it is dark


def test_windows_to_train_on_have_the_class_they_overlap_most():
    fixed = short()
    train, _, _ = scenes_of(fixed, DIGITS, 0)
    labels, most = overlapped(train, fixed.scenes, 10)
    grid = places(fixed.scenes)
    alike = overlaps(train.boxes.corners[:, None], grid)  # [M, G]
    for picture in (0, 7, 33):
        mine = train.boxes.pictures == picture
        assert most[picture].numpy() == pytest.approx(alike[mine].max(axis=0))
        best = train.boxes.labels[mine][alike[mine].argmax(axis=0)]
        there = alike[mine].max(axis=0) > 0
        assert (labels[picture].numpy()[there] == best[there]).all()
    rows = rows_of(train, fixed.scenes, 10, 0)
    assert (rows.labels < 10).sum() == (most >= 0.5).sum()
    assert (rows.labels == 10).sum() == 4 * 60
    assert set(rows.labels.tolist()) == set(range(11))


def test_the_law_of_places_is_the_seeds():
    counts = torch.tensor([9, 5, 2])
    first, second = (law_of(short().scenes, counts, seed) for seed in (0, 0))
    assert torch.equal(first.points, second.points)
    assert not torch.equal(first.points, law_of(short().scenes, counts, 1).points)
    assert first.points.min() >= 8 and first.points.max() <= 40


# Cells.


def test_recipes_of_a_seed_share_a_detector_and_seeds_do_not(monkeypatch):
    first = run(short(), recipe("erm"), 0, DIGITS, CPU)
    monkeypatch.setattr(detector, "train", None)  # nobody trains again
    second = run(short(), recipe("fracal"), 0, DIGITS, CPU)
    assert first.details.detector == second.details.detector != ""
    assert first.measures != second.measures
    monkeypatch.undo()


def test_another_seed_or_head_has_a_detector_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "other"))
    found = [
        run(fixed, recipe("erm"), seed, DIGITS, CPU).details.detector
        for fixed, seed in ((short(), 0), (short(), 1), (short(head="sigmoid"), 0))
    ]
    assert len(set(found)) == 3


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_one_seed_gives_the_same_bits(head, tmp_path, monkeypatch):
    made = []
    for place in ("one", "two"):
        monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / place))
        made.append(run(short(head=head), recipe("fracal"), 3, DIGITS, CPU))
    assert made[0].measures == made[1].measures
    assert all(np.array_equal(made[0].arrays[n], made[1].arrays[n]) for n in made[0].arrays)


def test_every_measure_follows_from_what_is_kept():
    fixed = short()
    made = run(fixed, recipe("fracal(lam=0.0)"), 0, DIGITS, CPU)
    details = structs.asdict(made.details)
    record = SimpleNamespace(details=details, class_counts=made.class_counts)
    told = measured(fixed, record, made.arrays)
    for name, value in made.measures.items():
        if value is None:
            assert told[name] is None
        else:
            assert told[name][0] <= value <= told[name][1]
    assert len(told) == len(made.measures) + 10


def test_a_cell_that_travels_holds_windows_and_facts_alone():
    fixed = short()
    given = pickle.loads(pickle.dumps(divide(fixed, 0, DIGITS).given))
    assert len(given.train) == len(cut(fixed, DIGITS, 0).train)
    assert vars(given.beside).keys() == {"head", "facts"}
    assert given.beside.facts.pictures == 60


def test_methods_see_no_network_and_no_row():
    seen = []

    class Looking(Method):
        name = "looking"

        def scores(self, scores, run):
            seen.append((run.model, run.train, run.counts, run.granted))
            return scores

    made = run(short(), Recipe(Looking()), 0, DIGITS, CPU)
    ((model, train, counts, granted),) = seen
    assert model is None and train is None
    assert counts[:10].long().tolist() == made.class_counts
    assert counts[10] == pytest.approx(counts[:10].mean())  # the background, as the mean class
    assert granted.images.tolist() == made.details.images
    assert len(granted.locations) == sum(made.class_counts)


def test_who_decides_keeps_one_class_of_a_proposal_and_no_background():
    class Background(Method):
        name = "background"

        def decide(self, scores, run):
            return scores.argmax(dim=1) * 0 + scores.shape[1] - 1

    class Threes(Background):
        name = "threes"

        def decide(self, scores, run):
            return scores.argmax(dim=1) * 0 + 3

    none = run(short(), Recipe(Background()), 0, DIGITS, CPU)
    assert none.measures["ap"] == 0 and len(none.arrays["found_at"]) == 0
    threes = run(short(), Recipe(Threes()), 0, DIGITS, CPU)
    assert set(threes.arrays["found_class"].tolist()) == {3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "logit-adjustment",
            "logit-adjustment overrides adjust, which track detection never",
        ),
        ("la-tau", "la-tau overrides finish, which track detection never calls"),
        ("linear-probe", "supplies no backbones; linear-probe needs that"),
    ],
)
def test_what_trains_is_refused_by_name(text, message):
    with pytest.raises(Unmet, match=message):
        run(short(), recipe(text), 0, DIGITS, CPU)


def test_other_tracks_have_no_locations():
    from ltbench.tracks.recognition.track import run as recognise

    with pytest.raises(Unmet, match="digits-lt supplies no locations"):
        recognise(protocol("digits-lt"), recipe("fracal"), 0, DIGITS, CPU)


def test_thresholding_decides_as_posthoc_logit_adjustment():
    first, second = (
        run(short(), recipe(text), 0, DIGITS, CPU).measures
        for text in ("thresholding", "posthoc-logit-adjustment")
    )
    assert first == pytest.approx(second, abs=1e-6)


class Names(Method):
    """Lowers the first class, whatever it is."""

    name = "names"
    needs = frozenset({"locations"})

    def scores(self, scores, run):
        return scores - torch.eye(scores.shape[1])[0].to(scores)


class InPlace(Names):
    name = "in-place"

    def scores(self, scores, run):
        return scores.sub_(1.0)


class Together(Names):
    name = "together"

    def scores(self, scores, run):
        return scores - scores.mean(dim=0)


@pytest.mark.parametrize(
    ("method", "check", "message"),
    [
        (Names, checks.class_names_do_not_matter, "a class's number must not count"),
        (InPlace, checks.inputs_and_chance_untouched, "work on a copy"),
        (Together, checks.proposals_are_scored_alone, "not to depend on the others"),
    ],
)
def test_the_checks_find_a_method_at_fault(method, check, message):
    from ltbench.testing.report import Failure

    with pytest.raises(Failure, match=message):
        check(Recipe(method()))


# A user's own files.


def annotations(**more):
    """Two pictures with three boxes of two categories, in COCO's form."""
    told = {
        "images": [{"id": 7, "width": 40, "height": 20}, {"id": 3, "width": 20, "height": 20}],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 8, 8]},
            {"image_id": 7, "category_id": 9, "bbox": [20, 4, 8, 8]},
            {"image_id": 3, "category_id": 9, "bbox": [2, 2, 10, 10], "iscrowd": 0},
        ],
    }
    return {**told, **more}


FOUND = [
    {"image_id": 7, "category_id": 2, "bbox": [0, 0, 8, 8], "score": 0.9},
    {"image_id": 3, "category_id": 9, "bbox": [2, 2, 10, 10], "score": 0.4},
    {"image_id": 3, "category_id": 2, "bbox": [9, 9, 10, 10], "score": 0.6},
]


@pytest.fixture
def own(tmp_path):
    """What a run on files of a user's own gives; keywords take the place of their content."""

    def write(**content):
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        told = {"train": annotations(), "test": annotations(), "detections": FOUND} | content
        for name, value in told.items():
            text = value if isinstance(value, str) else json.dumps(value)
            (folder / f"{name}.json").write_text(text)
        return folder

    return write


MINE = """
name = "mine"
version = 1
track = "detection"
description = "Mine."
recipes = ["erm"]
seeds = 1
data = {source = "mine", fingerprint = "any"}
keep = {most = 10, overlap = 0.5, floor = 1e-3}
scoring = {metrics = ["ap"], shot_splits = [2, 5]}
compute = {threads = 1}
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    return protocol(path)


def test_coco_files_are_read(own, mine):
    stored = files.of_json(own())
    assert stored.classes == ("cat", "dog") and stored.head == "sigmoid"
    assert stored.facts.locations.tolist() == [[0.1, 0.2], [0.6, 0.4], [0.35, 0.35]]
    assert stored.facts.images.tolist() == [1, 2] and stored.facts.pictures == 2
    assert stored.truth.pictures.tolist() == [0, 0, 1]
    assert stored.truth.labels.tolist() == [0, 1, 1]
    chances = 1 / (1 + np.exp(-stored.logits))
    assert chances[0, 0] == pytest.approx(0.9) and chances[1, 1] == pytest.approx(0.4)
    assert chances[0, 1] < 1e-10
    made = run(mine, recipe("erm"), 0, stored, CPU)
    # the cat is found first; of two dogs one is found, alone: precision 1 up to recall 1/2
    assert made.measures["ap"] == pytest.approx((1 + 51 / 101) / 2)
    assert made.measures["uniform"] is None and made.details.detector == ""
    assert made.class_counts == [1, 2]


def test_scores_of_all_categories_are_a_softmax_with_background(own, mine):
    found = [{"image_id": 7, "bbox": [0, 0, 8, 8], "scores": [0.7, 0.1, 0.2]}]
    stored = files.of_json(own(detections=found))
    assert stored.head == "softmax" and stored.columns == 3
    assert np.exp(stored.logits[0]) == pytest.approx([0.7, 0.1, 0.2])
    assert run(mine, recipe("fracal"), 0, stored, CPU).measures["ap"] == pytest.approx(0.5)
    alone = [{"image_id": 7, "bbox": [0, 0, 8, 8], "scores": [0.7, 0.1]}]
    assert files.of_json(own(detections=alone)).head == "sigmoid"


def test_crowds_are_left_out_and_told(own):
    told = annotations()
    told["annotations"][2]["iscrowd"] = 1
    stored = files.of_json(own(test=told))
    assert len(stored.truth) == 2
    assert stored.notes == ("1 boxes of crowds in test.json are left out",)


def without(key, place, value):
    """Annotations of which one has another value."""
    told = annotations()
    told["annotations"][place][key] = value
    return told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"test": without("category_id", 0, 5)}, "annotation 0 names category 5, which is not"),
        ({"test": without("image_id", 1, 99)}, "annotation 1 names image 99, which is not in"),
        ({"test": without("bbox", 2, [2, 2, 30, 10])}, "box 2 has corners outside of its picture"),
        ({"test": without("bbox", 2, [2, 2, 0, 10])}, "box 2 has no width or no height"),
        ({"test": without("bbox", 0, [2, 2, 3])}, r"annotation 0 has bbox .*, not a list of 4"),
        ({"test": annotations(images=[])}, "test.json has no images"),
        ({"test": annotations(annotations=[])}, "has no boxes of the truth"),
        ({"train": annotations(annotations=[])}, "has no boxes to train on"),
        (
            {"test": annotations(categories=[{"id": 2, "name": "cat"}], annotations=[])},
            "name other",
        ),
        ({"test": [1]}, "no object with images, annotations and categories"),
        ({"test": "{"}, "test.json is not JSON"),
        ({"detections": []}, "no list of detections"),
        ({"detections": [FOUND[0] | {"score": math.nan}]}, "detection 0 has a score of nan"),
        ({"detections": [FOUND[0] | {"score": 1.5}]}, "detection 0 has a score of 1.5; a score"),
        ({"detections": [FOUND[0] | {"score": "high"}]}, "detection 0 has score 'high', no number"),
        ({"detections": [FOUND[0] | {"category_id": 4}]}, "detection 0 names category 4"),
        (
            {"detections": [FOUND[0] | {"image_id": "x"}]},
            "detection 0 has image_id 'x', no integer",
        ),
        ({"detections": [FOUND[0] | {"bbox": [-9, 0, 8, 8]}]}, "box 0 has corners outside"),
        ({"detections": [FOUND[0] | {"scores": [0.5]}]}, r"scores are \[1\] a detection; state 2"),
        ({"detections": [FOUND[0] | {"scores": [0.5, 0.5, 0.5]}]}, "sum to 1.5; those of all"),
    ],
)
def test_files_at_fault_are_refused_in_a_line(own, content, message):
    with pytest.raises(LTBenchError, match=message) as refused:
        files.of_json(own(**content))
    assert str(refused.value).count("\n") <= 1 and len(str(refused.value)) < 400


def arrays(**more):
    """The arrays of two pictures, three proposals and two classes, with a background."""
    told = {
        "logits": np.log([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]),
        "boxes": np.array([[0, 0, 8, 8], [2, 2, 12, 12], [20, 4, 28, 12]]),
        "images": np.array([0, 1, 0]),
        "sizes": np.array([[40, 20], [20, 20]]),
        "truth_boxes": np.array([[0, 0, 8, 8], [2, 2, 12, 12]]),
        "truth_labels": np.array([0, 1]),
        "truth_images": np.array([0, 1]),
        "train_centres": np.array([[0.1, 0.2], [0.6, 0.4]]),
        "train_labels": np.array([0, 1]),
        "train_images": np.array([1, 1]),
        "train_pictures": np.array(2),
    }
    return {name: value for name, value in {**told, **more}.items() if value is not None}


def test_arrays_are_read(tmp_path, mine):
    np.savez(tmp_path / "own.npz", **arrays(classes=np.array(["cat", "dog"])))
    stored = files.of_arrays(tmp_path / "own.npz")
    assert stored.classes == ("cat", "dog") and stored.head == "softmax"
    assert run(mine, recipe("erm"), 0, stored, CPU).measures["ap"] == 1.0
    again = files.of_arrays(tmp_path / "own.npz")
    assert again.fingerprint == stored.fingerprint
    np.savez(tmp_path / "own.npz", **arrays(train_pictures=np.array(3)))
    assert files.of_arrays(tmp_path / "own.npz").fingerprint != stored.fingerprint


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"logits": None}, "holds no logits; it needs logits, boxes"),
        ({"logits": np.full((3, 3), np.nan)}, "scored box 0 has a score that is no finite number"),
        ({"logits": np.zeros((3, 5))}, r"scores \[3, 5\] do not fit 3 boxes and a sigmoid over 2"),
        ({"logits": np.zeros(3)}, r"logits is \[3\], not \[N, K\]"),
        ({"images": np.array([0, 1])}, "images has 2 entries, but boxes 3"),
        ({"images": np.array([0, 1, 2])}, "scored box 2 has a picture that is not there: 2"),
        ({"truth_labels": np.array([0, 2])}, r"box of the truth 1 has a class not in 0..1: 2"),
        ({"truth_images": np.array([0, 9])}, "box of the truth 1 has a picture that is not there"),
        ({"train_centres": np.array([[0.1, 2.0], [0, 0]])}, "box to train on 0 has a centre that"),
        ({"train_centres": np.zeros((1, 2))}, r"centres \[1, 2\] to train on do not fit 2 labels"),
        ({"train_images": np.array([1, 3])}, "class 1 is told to be in 3 training pictures, but"),
        ({"sizes": np.array([[0, 20], [20, 20]])}, "picture 0 has a width or height that is not"),
        ({"boxes": np.array(["a", "b", "c"])}, "boxes is <U1, no array of numbers"),
        ({"head": np.array("both")}, "head is 'both'; it is 'softmax' or 'sigmoid'"),
    ],
)
def test_arrays_at_fault_are_refused_in_a_line(tmp_path, more, message):
    np.savez(tmp_path / "own.npz", **arrays(**more))
    with pytest.raises(LTBenchError, match=message) as refused:
        files.of_arrays(tmp_path / "own.npz")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_none_is_refused_in_a_line(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"PK no")
    with pytest.raises(LTBenchError, match=r"own.npz is not an .npz file"):
        files.of_arrays(tmp_path / "own.npz")


def test_stored_scores_that_are_not_there_are_told(mine):
    track = installed().track("detection")
    with pytest.raises(LTBenchError, match="mine is not at .*give it with --data mine=PATH"):
        track.load(installed(), mine)


def test_what_fits_passes_the_checks_of_stored_scores(own):
    stored = files.of_json(own())
    assert checked("mine", stored) is stored


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[scenes]\nside = 4", "box 8 does not fit a scene of side 4"),
        ("[scenes]\ntrain = 10", None),
        ("[keep]\noverlap = 0.0", "overlap"),
        ("[keep]\nfloor = 1.0", "floor"),
        ("[data]\nlabel_noise = 0.1", "label_noise is not for this track"),
        ('head = "hinge"', "head"),
    ],
)
def test_bad_protocols_are_refused_in_a_line(tmp_path, toml, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "digits-detection-lt"\nname = "mine"\n{toml}\n')
    if message is None:
        with pytest.raises(LTBenchError, match="1175 boxes do not fit 10 scenes of up to 5"):
            cut(protocol(path), DIGITS, 0)
        return
    with pytest.raises(LTBenchError, match=message) as refused:
        protocol(path)
    assert str(refused.value).count("\n") <= 1


def test_a_protocol_without_scenes_has_no_detector(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE + '\n[network]\nname = "mlp"\n')
    with pytest.raises(LTBenchError, match="network is for a detector of scenes, but scenes is"):
        protocol(path)


def test_a_protocol_is_proposed_for_files_of_ones_own_and_runs(own, tmp_path):
    track, folder = installed().track("detection"), own()
    proposal = track.propose("mine", folder)
    (tmp_path / "mine.toml").write_text(proposal.text)
    fixed = protocol(tmp_path / "mine.toml")
    stored = files.of_json(folder)
    assert fixed.data.fingerprint == stored.fingerprint and proposal.seen["truth"] == 3
    track.plan(fixed, {"": stored}, CPU)
    for text in fixed.recipes:
        assert run(fixed, recipe(text), 0, stored, CPU).measures["ap"] > 0
    np.savez(tmp_path / "own.npz", **arrays())
    assert track.propose("mine", tmp_path / "own.npz").seen["head"] == "softmax"
    np.savez(tmp_path / "other.npz", x_train=np.zeros(3))
    assert track.propose("mine", tmp_path / "other.npz") is None
    assert track.propose("mine", tmp_path) is None


def test_a_cell_of_other_scores_than_the_protocols_is_refused(own, mine):
    fixed = structs.replace(mine, data=structs.replace(mine.data, fingerprint="0123"))
    with pytest.raises(LTBenchError, match="mine has fingerprint .* but mine is fixed to 0123"):
        run(fixed, recipe("erm"), 0, files.of_json(own()), CPU)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_scores_that_a_protocol_made_are_stored_and_give_its_measures_again(head, tmp_path, mine):
    fixed, file = short(head=head), tmp_path / "scenes.npz"
    told = write(file, stored_of(fixed, DIGITS, 0, CPU))
    stored = files.of_arrays(file)
    assert stored.fingerprint == told and stored.head == head
    again = structs.replace(mine, keep=fixed.keep, scoring=fixed.scoring)
    for text in ("erm", "fracal", "posthoc-logit-adjustment"):
        of_scenes = run(fixed, recipe(text), 0, DIGITS, CPU)
        of_file = run(again, recipe(text), 0, stored, CPU)
        assert of_file.class_counts == of_scenes.class_counts
        for name in ("ap", "many", "few", "average_recall"):
            assert of_file.measures[name] == pytest.approx(of_scenes.measures[name], abs=1e-3)
