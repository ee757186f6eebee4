"""The track of incremental learning: its protocols, tasks, memory, networks and measures."""

import copy
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from ltbench import CosineHead, LTBenchError, Method, Recipe, Rows, Unmet, protocol, recipe
from ltbench.commands.main import main
from ltbench.contract.track import Grid
from ltbench.datasets import Dataset, built_in
from ltbench.registry.registry import installed
from ltbench.results.records import arrays_of, read_all
from ltbench.running.answers import packed, unpacked
from ltbench.tracks.dividing import Given
from ltbench.tracks.incremental.arriving import arriving, dealt
from ltbench.tracks.incremental.contract import (
    ClassIncremental,
    equal_share,
    first_of_each,
    old_classes,
    past_of,
)
from ltbench.tracks.incremental.declaration import IncrementalTrack
from ltbench.tracks.incremental.problem import Memory
from ltbench.tracks.incremental.scores import scored_tasks, task_accuracies
from ltbench.tracks.incremental.tasks import begin, grow, learn, plain_rows, remembered
from ltbench.tracks.incremental.track import answer, divide, given_of, measured, run
from ltbench.training import engine

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = (
    "digits-incremental",
    "digits-incremental-ordered",
    "digits-incremental-base5",
    "digits-incremental-none",
    "mnist-incremental",
    "cifar10-jpeg-incremental-short",
    "cifar100-incremental-b0-10",
    *(
        f"cifar100-incremental-b50-{tasks}-{kind}"
        for tasks in (5, 10)
        for kind in ("conventional", "shuffled", "ordered")
    ),
)
HEAD = """
base = "digits-incremental"
name = "small"
version = 1
description = "Tasks, in a blink."
recipes = ["erm"]
seeds = 1

[budget]
epochs = 3

[network]
name = "mlp"
widths = [16]
batch_norm = true
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


def pixels(rows):
    """The images of rows, each as something that can be looked up."""
    return [tuple(image.flatten().tolist()) for image in rows.inputs]


# Protocols and how classes arrive.


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_protocol_is_read_and_names_recipes_that_exist(name):
    given = protocol(name)
    assert given.track == "incremental"
    assert all(recipe(text) for text in given.recipes)


@pytest.mark.parametrize(
    ("name", "classes", "known"),
    [
        ("digits-incremental", 10, (2, 4, 6, 8, 10)),
        ("digits-incremental-base5", 10, (5, 6, 7, 8, 9, 10)),
        ("cifar100-incremental-b0-10", 100, tuple(range(10, 101, 10))),
        ("cifar100-incremental-b50-5-shuffled", 100, (50, 60, 70, 80, 90, 100)),
        ("cifar100-incremental-b50-10-ordered", 100, (50, *range(55, 101, 5))),
    ],
)
def test_classes_are_dealt_out_to_tasks(name, classes, known):
    assert dealt(protocol(name), classes) == known


def test_classes_that_do_not_come_out_even_are_in_earlier_tasks():
    assert dealt(protocol("digits-incremental"), 12) == (3, 6, 8, 10, 12)


def test_long_tails_of_cifar100_are_those_of_the_published_code():
    counts = protocol("cifar100-incremental-b50-5-ordered").imbalance.class_counts([500] * 100)
    assert counts == [int(500 * 0.01 ** (c / 99)) for c in range(100)]
    even = protocol("cifar100-incremental-b50-5-conventional").imbalance
    assert even.class_counts([500] * 100) == [500] * 100


def test_each_task_has_the_budget_that_its_protocol_states():
    pycil, ltcil = protocol("cifar100-incremental-b0-10"), protocol(SHIPPED[-2])
    assert [pycil.budget_of(task).epochs for task in (0, 1, 9)] == [200, 170, 170]
    assert [pycil.budget_of(task).weight_decay for task in (0, 1)] == [5e-4, 2e-4]
    falls = [round(170 * share) for share in pycil.budget.milestones]
    assert falls == [80, 120]
    assert [ltcil.budget_of(task).epochs for task in (0, 5)] == [160, 160]
    assert [round(160 * share) for share in ltcil.first_budget.milestones] == [80, 120]


def test_order_and_size_have_nothing_to_do_with_each_other_unless_it_is_asked(small):
    shuffled = [arriving(small(), DIGITS, seed) for seed in range(30)]
    first = np.array([rows.parts.class_counts for rows in shuffled])
    assert (np.sort(first, axis=1) == np.sort(first[0])).all()
    ranks = np.corrcoef(np.arange(300) % 10, first.flatten())[0, 1]
    assert abs(ranks) < 0.2
    assert len({tuple(rows.order) for rows in shuffled}) == 30
    ordered = arriving(small('arrival = "largest"\n'), DIGITS, 3)
    assert ordered.parts.class_counts == sorted(ordered.parts.class_counts, reverse=True)


def test_rows_are_renumbered_by_arrival(small):
    rows = arriving(small(), DIGITS, 1)
    known = {
        tuple(x.flatten().tolist()): int(y)
        for x, y in zip(DIGITS.train.inputs, DIGITS.train.labels, strict=True)
    }
    for part in (rows.parts.train, rows.parts.test()):
        found = [known[tuple(x.flatten().tolist())] for x in part.inputs]
        assert [rows.order[y] for y in part.labels.tolist()] == found
    assert rows.parts.train.labels.bincount().tolist() == rows.parts.class_counts
    assert rows.parts.test().labels.bincount().tolist() == [50] * 10


# Bad input.


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("tasks = 11\n", "", "has 11 tasks, but digits has 10 classes"),
        ("first_classes = 9\n", "", "4 tasks after the first one's 9, but digits has 1 class"),
        ("first_classes = 20\n", "", "but digits has 0 classes for them"),
        ("", "[memory]\nrows = 9\nper_class = 0\n", "remembers 9 rows, and digits has 10 classes"),
        ("", "[memory]\nrows = 20\nper_class = 2\n", "rows in all or per_class, and not both"),
        ("", "[memory]\nper_class = -1\n", "per_class"),
        ("tasks = 1\nfirst_classes = 3\n", "", "first_classes needs two tasks or more"),
        ('arrival = "smallest"\n', "", "arrival"),
        ("", "[data]\nvalidation_share = 0.2\n", "validation_share is not for this track"),
        ("", "[data]\nlabel_noise = 0.2\n", "label_noise is not for this track"),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused_in_a_line(tmp_path, before, after, told):
    path = tmp_path / "small.toml"
    path.write_text(before + HEAD + after)
    result = CliRunner().invoke(main, ["run", str(path), "--results", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.output.split()) and "Traceback" not in result.output


class Keeping(ClassIncremental):
    """Remembers what it is told to."""

    name = "keeping"

    def remember(self, train, room, run):
        return self.positions(train, room)


def keeping(positions):
    own = Keeping()
    own.positions = positions
    return own


@pytest.mark.parametrize(
    ("positions", "told"),
    [
        (lambda train, room: [0, 1], "gave [0, 1]; it gives positions, whole numbers [M]"),
        (lambda train, room: None, "gave None; it gives positions"),
        (lambda train, room: torch.zeros(2), "gave torch.float32 [2]; it gives positions"),
        (lambda train, room: torch.zeros(2, 1).long(), "gave torch.int64 [2, 1]; it gives"),
        (lambda train, room: train.labels < 1, "gave torch.bool"),
        (lambda train, room: torch.tensor([len(train)]), "rows; positions are from 0 to"),
        (lambda train, room: torch.tensor([-1]), "gave position -1, and there are"),
        (lambda train, room: torch.tensor([3, 1, 3]), "gave position 3 twice; a row is kept once"),
        (lambda train, room: torch.arange(room + 1), "gave 5 positions, and memory holds 4 rows"),
    ],
)
def test_what_cannot_be_remembered_is_refused_in_a_line(small, positions, told):
    with pytest.raises(LTBenchError, match="keeping: remember") as error:
        run(small(), Recipe(keeping(positions)), 0, DIGITS, CPU)
    assert told in str(error.value) and len(str(error.value)) < 200


class Meddling(ClassIncremental):
    """Changes the network of the task before."""

    name = "meddling"

    def enter(self, train, run):
        past = past_of(run)
        if past is not None:
            past.model.head.bias.add_(1)
        return train


def test_an_earlier_network_that_was_changed_is_told(small):
    with pytest.raises(LTBenchError, match="meddling changed the network of task 1 once"):
        run(small(), Recipe(Meddling()), 0, DIGITS, CPU)


def test_a_task_of_one_row_is_refused_in_a_line(small):
    given = msgspec.structs.replace(small("tasks = 10\n"), memory=Memory())
    given = changed(given, "imbalance", n_max=20, factor=20.0)
    with pytest.raises(LTBenchError, match="has 1 rows, too few to train on"):
        run(given, recipe("erm"), 0, DIGITS, CPU)


def test_methods_of_the_past_are_skipped_by_name_elsewhere():
    from ltbench.tracks.recognition.track import run as recognise

    with pytest.raises(Unmet, match="supplies no past; icarl needs that"):
        recognise(protocol("digits-lt"), recipe("icarl"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="supplies no groups"):
        run(protocol("digits-incremental"), recipe("rwg"), 0, DIGITS, CPU)


# What a method is given.


class Watching(ClassIncremental):
    """Notes what each task is like."""

    name = "watching"
    needs = frozenset({"past"})

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def enter(self, train, run):
        self.seen.append((train, run, past_of(run)))
        return train


def watched(given, text="erm", seed=0):
    own = Watching()
    outcome = run(given, Recipe(*recipe(text).methods, own), seed, DIGITS, CPU)
    return outcome, own.seen


def test_each_task_has_new_rows_and_those_remembered_and_knows_its_past(small):
    outcome, seen = watched(small())
    counts = outcome.class_counts
    for task, (train, now, past) in enumerate(seen):
        old, known = 2 * task, 2 * task + 2
        present = train.labels.bincount(minlength=known).tolist()
        assert present == [min(2, n) for n in counts[:old]] + counts[old:known]
        assert now.num_classes == known and now.exact_counts.tolist() == present
        assert old_classes(now) == old
        if task == 0:
            assert past is None
            continue
        assert (past.old, past.task, past.room) == (old, task, 2 * known)
        assert past.known == tuple(range(2, old + 1, 2))
        assert past.arrived.tolist() == counts[:known]
        assert past.task_of(torch.arange(known)).tolist() == [c // 2 for c in range(known)]
        assert past.scores(now.plain(train.inputs)).shape == (len(train), old)
        assert past.output(now.plain(train.inputs)).features.shape == (len(train), 16)
        assert past.used and not past.model.training


def test_classes_without_rows_count_as_if_they_had_one(small):
    _, seen = watched(small("", "[memory]\nper_class = 0\n"))
    for task, (_, now, _) in enumerate(seen):
        assert now.exact_counts[: 2 * task].tolist() == [0] * 2 * task
        assert now.counts[: 2 * task].tolist() == [1] * 2 * task


def test_memory_in_all_is_shared_among_the_classes_known(small):
    _, seen = watched(small("", "[memory]\nrows = 12\nper_class = 0\n"))
    labels = [train.labels for train, _, _ in seen]
    kept = [of[of < 2 * task].bincount() for task, of in enumerate(labels)]
    assert [rows.tolist() for rows in kept] == [[], [6] * 2, [3] * 4, [2] * 6, [1] * 8]


def test_what_was_forgotten_does_not_come_again(small):
    _, seen = watched(small("", "[memory]\nrows = 12\nper_class = 0\n"))
    given = [pixels(train) for train, _, _ in seen]
    for task in range(1, 5):
        labels = seen[task][0].labels.tolist()
        old = {row for row, y in zip(given[task], labels, strict=True) if y < 2 * task}
        assert len(old) == 12 // (2 * task) * 2 * task and old <= set(given[task - 1])


def test_finetune_is_given_new_rows_alone_and_joint_the_union(small):
    outcome, seen = watched(small(), "finetune")
    for task, (train, _, _) in enumerate(seen):
        expected = [0] * 2 * task + outcome.class_counts[2 * task : 2 * task + 2]
        assert train.labels.bincount().tolist() == expected
    outcome, seen = watched(small(), "joint")
    assert outcome.control
    for task, (train, now, _) in enumerate(seen):
        assert train.labels.bincount().tolist() == outcome.class_counts[: 2 * task + 2]
        assert now.exact_counts.tolist() == outcome.class_counts[: 2 * task + 2]


def test_shares_of_memory_are_equal_and_the_first_ones_stay_first(small):
    labels = torch.tensor([1, 0, 1, 0, 2, 2, 2, 2])
    assert first_of_each(labels, torch.arange(8), 1).tolist() == [0, 1, 4]
    assert first_of_each(labels, torch.arange(8).flip(0), 2).tolist() == [7, 6, 3, 2, 1, 0]
    assert first_of_each(labels, torch.arange(8), 0).numel() == 0
    _, seen = watched(small())
    _, now, past = seen[1]  # two classes were known, four are
    assert past.old == 2 and now.num_classes == 4
    rows = torch.tensor([1, 0, 1, 0, 2, 2, 2, 2, 3])
    kept = equal_share(rows, 4, now)
    assert sorted(rows[kept].tolist()) == [0, 1, 2, 3] and {0, 1} <= set(kept.tolist())
    drawn = {tuple(equal_share(rows, 4, now).tolist()) for _ in range(40)}
    assert {row[2] for row in drawn} | {row[3] for row in drawn} >= {4, 5, 6, 7}


# Networks.


class Net(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(3), head


@pytest.mark.parametrize(
    "head", [lambda c: nn.Linear(3, c), lambda c: CosineHead(3, c, 4.0)], ids=["linear", "cosine"]
)
def test_a_network_takes_every_tensor_of_the_one_before(small, head):
    now = begin(small(), given_of(small(), DIGITS, 0).train, 0, 10, 0, CPU)
    before, after = Net(head(2)), Net(head(5))
    before.norm.running_mean.fill_(7.0)
    before.norm.num_batches_tracked.fill_(3)
    fresh = after.head.weight.detach().clone()
    grow(after, before, now)
    assert after.norm.running_mean.tolist() == [7.0] * 3 and after.norm.num_batches_tracked == 3
    assert torch.equal(after.head.weight[:2], before.head.weight)
    assert torch.equal(after.head.weight[2:], fresh[2:])
    assert not now.notes


def test_a_tensor_of_another_shape_begins_anew_and_is_told(small):
    now = begin(small(), given_of(small(), DIGITS, 0).train, 0, 10, 0, CPU)
    before, after = Net(nn.Linear(4, 2)), Net(nn.Linear(3, 5))
    fresh = after.head.weight.detach().clone()
    grow(after, before, now)
    assert torch.equal(after.head.weight, fresh)
    assert now.notes == ["head.weight begins anew with each task: it is [5, 3], and was [2, 4]"]


def test_a_task_begins_where_the_last_one_ended(small):
    given = given_of(small(), DIGITS, 0)
    learned = learn(small(), recipe("acil(width=8)"), 0, given, CPU)
    first, last = (learned.networks[k].model.state_dict() for k in (0, -1))
    for name in first:
        if not name.startswith("head."):
            assert torch.equal(first[name], last[name]), name  # acil learns in the first task alone


PLAIN = ("erm", "finetune", "finetune(scores='new')", "joint", "lwf", "ewc", "wa")


@pytest.mark.parametrize("text", [*PLAIN, "icarl(nearest_mean=False)"])
def test_one_task_is_plain_training_to_the_bit(small, text):
    one = small("tasks = 1\n")
    given = given_of(one, DIGITS, 0)
    learned = learn(one, recipe(text), 0, given, CPU)
    now = begin(one, given.train, 0, 10, 0, CPU)
    plain = engine.train(Method(), given.train, now, one.budget.batch_size)
    told = learned.networks[0].model.state_dict()
    assert all(torch.equal(told[name], value) for name, value in plain.state_dict().items())


def test_one_seed_gives_one_outcome_and_another_another(small):
    first, again = (run(small(), recipe("icarl"), 0, DIGITS, CPU) for _ in range(2))
    for name in first.arrays:
        np.testing.assert_array_equal(first.arrays[name], again.arrays[name])
    assert first.measures == again.measures
    other = run(small(), recipe("icarl"), 1, DIGITS, CPU)
    assert other.details.classes != first.details.classes


def test_a_recipe_is_as_it_was_after_a_cell(small):
    used = recipe("ewc")
    before = copy.deepcopy(vars(used.methods[0]))
    run(small(), used, 0, DIGITS, CPU)
    assert vars(used.methods[0]) == before


class Second(ClassIncremental):
    """Says the task by what it holds, so that later tasks must not change what earlier ones say."""

    name = "second"

    def __init__(self):
        self.tasks = 0

    def finish(self, model, validation, run):
        self.tasks += 1
        return model

    def decide(self, scores, run):
        return torch.full((len(scores),), self.tasks - 1)


def test_each_task_is_answered_as_the_method_stood_then(small):
    outcome = run(small(), Recipe(Second()), 0, DIGITS, CPU)
    assert [set(said.tolist()) for said in outcome.arrays["earlier"]] == [{0}, {1}, {2}, {3}]
    assert set(outcome.arrays["predicted"].tolist()) == {4}


# Measures.


def test_measures_over_tasks_by_hand():
    labels = np.array([0, 0, 1, 1, 2, 2])
    predicted = np.array([[0, 0, 1, 0, 0, 0], [0, 2, 1, 1, 2, 2], [2, 2, 1, 2, 2, 0]])
    known = (1, 2, 3)
    of_tasks, of_known = task_accuracies(labels, predicted, known)
    expected = [[1, np.nan, np.nan], [0.5, 1, np.nan], [0, 0.5, 0.5]]
    np.testing.assert_array_equal(of_tasks, expected)
    np.testing.assert_allclose(of_known, [1, 0.75, 1 / 3])
    assert scored_tasks(labels, predicted, known) == pytest.approx(
        {
            "average_incremental": (1 + 0.75 + 1 / 3) / 3,
            "last": 1 / 3,
            "forgetting": ((1 - 0) + (1 - 0.5)) / 2,
            "old": 0.25,
            "new": 0.5,
        }
    )


def test_one_task_has_nothing_to_forget():
    told = scored_tasks(np.array([0, 1]), np.array([[0, 0]]), (2,))
    assert told["forgetting"] is None and told["old"] is None and told["new"] == told["last"] == 0.5


def test_forgetting_can_be_less_than_nothing():
    labels = np.array([0, 1])
    told = scored_tasks(labels, np.array([[1, 0], [0, 1]]), (1, 2))
    assert told["forgetting"] == -1


def test_a_cell_keeps_what_its_measures_follow_from(small):
    outcome = run(small(), recipe("icarl"), 2, DIGITS, CPU)
    arrays, details = outcome.arrays, outcome.details
    assert set(arrays) == {"labels", "predicted", "confidence", "outranking", "earlier"}
    assert arrays["earlier"].shape == (4, 500) and arrays["earlier"].dtype == np.uint8
    assert sorted(c for task in details.classes for c in task) == list(range(10))
    assert details.recalls[0][1:] == [None] * 4
    record = type("Record", (), {"class_counts": outcome.class_counts})
    followed = measured(small(), record, arrays, details)
    for name, limits in followed.items():
        of_class = name.startswith("recall ")
        value = outcome.recall[int(name[7:])] if of_class else outcome.measures[name]
        assert limits[0] <= value <= limits[1], name
    unfollowed = outcome.measures.keys() - followed.keys()
    assert unfollowed == {"kept_floats"}


def test_plain_training_learns_the_last_task_and_forgets_without_memory(small):
    given = changed(small(), "budget", epochs=20)
    outcome = run(given, recipe("finetune"), 0, DIGITS, CPU)
    assert outcome.measures["old"] == 0 and outcome.measures["new"] >= 0.5
    assert outcome.measures["forgetting"] > 0.7
    for text in ("balanced-softmax", "icarl", "fetril", "acil"):
        better = run(given, recipe(text), 0, DIGITS, CPU)
        assert (
            better.measures["average_incremental"] > outcome.measures["average_incremental"] + 0.1
        )


def test_what_is_kept_is_counted(small):
    kept = {
        text: run(small(), recipe(text), 0, DIGITS, CPU).measures["kept_floats"]
        for text in ("erm", "finetune", "joint", "lwf", "icarl", "ewc", "fetril", "acil(width=8)")
    }
    rows, network, earlier = 20 * 64, 64 * 16 + 16 + 4 * 16 + 2 + 16 * 10 + 10, 16 * 2 + 2
    assert kept["erm"] == rows and kept["finetune"] == kept["joint"] == 0
    assert kept["lwf"] == network - earlier  # the network before the last task, of 8 classes
    assert kept["icarl"] == rows + network - earlier + 8 * 16 + 0.25 + 10 * 16 + 0.25
    weights = 64 * 16 + 16 + 2 * 16 + 16 * 10 + 10
    assert kept["ewc"] == 2 * weights
    assert kept["fetril"] == 10 * 16  # its head takes the place of the network's
    inverse, solved, drawn = 8 * 8, 8 * 10, 16 * 8
    assert kept["acil(width=8)"] == 2 * (inverse + 2 * solved + drawn) - (16 * 10 + 10)


def test_of_joint_is_a_share_of_the_bound():
    grid = Grid(
        {"last": np.array([[0.5, 0.6], [1.0, 0.8]])}, ("erm", "joint"), (0, 1), lambda *given: {}
    )
    derived = IncrementalTrack().derived(protocol("digits-incremental"), grid)
    np.testing.assert_allclose(derived["share_of_joint"], [[0.5, 0.75], [1, 1]])


def test_one_prediction_moves_the_mean_over_tasks_most_in_the_first():
    track, given = IncrementalTrack(), protocol("digits-incremental")
    assert track.step(given, "last", 10) == pytest.approx(1 / 500)
    assert track.step(given, "average_incremental", 10) == pytest.approx(1 / 100 / 5)
    assert track.step(given, "forgetting", 10) is None


# The answer key.


def test_nothing_that_a_cell_is_given_or_asked_holds_a_label_of_a_test_row(small):
    divided = divide(small(), 0, DIGITS)
    given, asked = divided.given, divided.ask()
    assert isinstance(given, Given) and given.validation is None
    test = set(pixels(arriving(small(), DIGITS, 0).parts.test()))
    assert not test & set(pixels(given.__getstate__()["train"]))
    assert len(asked.inputs) == 5 * 500 and asked.groups.bincount().tolist() == [500] * 5
    for task in range(5):  # those of classes to come are asked too, so that none is told by it
        rows = asked.inputs[asked.groups == task]
        assert set(pixels(Rows(rows, torch.zeros(len(rows))))) == test


def test_a_cell_in_parts_is_the_cell(small):
    whole = run(small(), recipe("icarl"), 0, DIGITS, CPU)
    divided = divide(small(), 0, DIGITS)
    said = answer(small(), recipe("icarl"), 0, divided.given, divided.ask, CPU)
    _, again = unpacked(packed(said, {}))
    marked = divided.mark(again)
    assert marked.measures == whole.measures and marked.details == whole.details


def test_a_false_cost_of_memory_fails_the_cell(small):
    divided = divide(small(), 0, DIGITS)
    said = answer(small(), recipe("erm"), 0, divided.given, divided.ask, CPU)
    for told in ({}, {"kept_floats": -1.0}, {"kept_floats": float("nan")}):
        with pytest.raises(LTBenchError, match="a cell cannot keep"):
            divided.mark(replace(said, told=told))


def test_cells_run_apart_from_the_test_labels_and_are_ranked(small, tmp_path):
    path, results = tmp_path / "small.toml", tmp_path / "out"
    path.write_text(HEAD)
    options = ["--results", str(results), "--seeds", "2"]
    texts = ["-m", "erm", "-m", "joint", "-m", "icarl+balanced-softmax"]
    result = CliRunner().invoke(main, ["run", str(path), *texts, *options])
    assert result.exit_code == 0, result.output
    records = list(read_all(results, "small"))
    assert [record.status for record in records] == ["ok"] * 6
    here = run(protocol(path), recipe("erm"), 1, DIGITS, CPU)
    there = next(one for one in records if one.recipe == "erm" and one.seed == 1)
    assert there.measures == here.measures
    np.testing.assert_array_equal(arrays_of(results, there)["earlier"], here.arrays["earlier"])
    table = (results / "small" / "table.md").read_text()
    assert "of joint" in table and "average" in table


# What it costs.


def test_plain_rows_are_those_of_plain_training(small):
    for after in ("", "[memory]\nrows = 30\nper_class = 0\n"):
        given = small("", after)
        _, seen = watched(given)
        assert plain_rows(given, given_of(given, DIGITS, 0)) == [len(train) for train, _, _ in seen]


def test_remembered_takes_small_whole_numbers(small):
    now = begin(small(), given_of(small(), DIGITS, 0).train, 0, 10, 0, CPU)
    rows = Rows(torch.zeros(4, 1), torch.zeros(4).long())
    own = keeping(lambda train, room: torch.tensor([2, 0], dtype=torch.uint8))
    assert remembered(own, rows, 2, now).tolist() == [2, 0]


def test_sources_with_a_test_split_of_their_own_serve_too(small):
    train, test = DIGITS.train[torch.arange(1000)], DIGITS.train[torch.arange(1000, 1797)]
    given = changed(small(), "data", fingerprint="any", test_per_class=None)
    given = changed(given, "imbalance", n_max=40, factor=10.0)
    outcome = run(given, recipe("erm"), 0, Dataset(train, DIGITS.classes, test), CPU)
    assert len(outcome.arrays["labels"]) == 797


def test_the_registry_has_the_track_and_its_hook():
    track = installed().tracks()["incremental"]
    assert track.hooks is ClassIncremental
