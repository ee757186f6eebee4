import pytest
import torch
from imblearn import over_sampling as samplers
from scipy.stats import chisquare
from torch import nn

from ltbench import LTBenchError, Method, Phase, Recipe, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS as TASK_COUNTS
from ltbench.testing.task import trained
from ltbench.training.engine import draw

COUNTS = (50, 10, 2, 1)


@pytest.fixture
def train():
    labels = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
    centres = 10 * torch.arange(4.0)[labels]
    return Rows(centres[:, None] + torch.rand(len(labels), 3), labels)


def resampled(text, train, seed=0):
    method = recipe(text)
    run = probe_run(method, train.labels.bincount(), torch.float32)
    run.rng.manual_seed(seed)
    run.seed = seed
    return method.resample(train, run), run


def test_oversampling_draws_every_class_equally_often(train):
    method = recipe("oversampling")
    run = probe_run(method, COUNTS, torch.float32)
    weights = method.sampling_weights(train.labels, run)
    drawn = train.labels[draw(len(train), 20000, weights, run.rng)]
    assert chisquare(drawn.bincount().numpy()).pvalue > 0.001
    assert run.seen.tolist() == pytest.approx([0.25] * 4)


def test_undersampling_keeps_the_smallest_class_size_of_each_class_once(train):
    kept, _ = resampled("undersampling", train)
    assert kept.labels.bincount().tolist() == [1, 1, 1, 1]
    rows = {tuple(row.tolist()) for row in train.inputs}
    assert all(tuple(row.tolist()) in rows for row in kept.inputs)


def test_undersampling_chooses_by_the_seed(train):
    first, second = resampled("undersampling", train, 0)[0], resampled("undersampling", train, 1)[0]
    assert not torch.equal(first.inputs, second.inputs)
    assert torch.equal(first.inputs, resampled("undersampling", train, 0)[0].inputs)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([200, 101, 100, 60, 20, 19, 3], [100, 100, 19, 19, 19, 19, 3]),
        ([300, 50, 30], [50, 50, 30]),  # none has few
        ([300, 101, 2], [2, 2, 2]),  # none is medium
        ([300, 200], [300, 200]),  # all have many
        ([1, 7], [1, 7]),  # all have few
    ],
)
def test_shot_splits_cut_a_class_to_the_largest_of_the_next_smaller_group(counts, expected):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    train = Rows(torch.arange(float(len(labels)))[:, None], labels)
    method = recipe("undersampling(shot_splits=(20, 100))")
    kept = method.resample(train, probe_run(method, counts, torch.float32))
    assert kept.labels.bincount().tolist() == expected
    assert len(kept.inputs.unique()) == len(kept)
    assert torch.equal(labels[kept.inputs[:, 0].long()], kept.labels)


def test_undersampling_draws_the_rows_that_a_shuffle_puts_first(train):
    kept, run = resampled("undersampling", train)
    run.rng.manual_seed(0)
    order = torch.randperm(len(train), generator=run.rng)
    first = [next(row for row in order.tolist() if train.labels[row] == c) for c in range(4)]
    assert torch.equal(kept.inputs, train.inputs[first])


def test_falling_shot_splits_are_refused(train):
    with pytest.raises(LTBenchError, match=r"shot_splits \(100, 20\) must not fall"):
        resampled("undersampling(shot_splits=(100, 20))", train)


def test_smote_grows_every_class_to_the_largest_and_keeps_the_rows_first(train):
    grown, _ = resampled("smote", train)
    assert grown.labels.bincount().tolist() == [50, 50, 50, 50]
    assert torch.equal(grown.inputs[: len(train)], train.inputs)
    assert grown.inputs.dtype == train.inputs.dtype


def test_every_new_row_lies_between_two_rows_of_its_class(train):
    grown, _ = resampled("smote", train)
    for row, label in zip(grown.inputs[len(train) :], grown.labels[len(train) :], strict=True):
        own = train.inputs[train.labels == label]
        through = own[:, None] + (own[None] - own[:, None]) * position_between(own, row)
        assert (through - row).norm(dim=2).min() < 1e-4


def position_between(own, row):
    """Where on each segment between two rows the nearest point to `row` lies, from 0 to 1."""
    step = own[None] - own[:, None]
    length = (step**2).sum(dim=2).clamp(min=1e-12)
    return (((row - own[:, None]) * step).sum(dim=2) / length).clamp(0, 1)[..., None]


def test_classes_with_too_few_rows_are_handled_and_named(train):
    _, run = resampled("smote", train)
    assert run.notes == [
        "classes of 1 row: repeated",
        "classes of 2 rows: 1 of 5 neighbours",
    ]


def test_smote_agrees_with_imbalanced_learn_where_no_class_is_too_small():
    labels = torch.arange(3).repeat_interleave(torch.tensor([20, 12, 8]))
    train = Rows(torch.randn(40, 5), labels)
    method = recipe("smote")
    run = probe_run(method, (20, 12, 8), torch.float32)
    run.seed = 3
    grown = method.resample(train, run)
    x, y = samplers.SMOTE(random_state=3).fit_resample(train.inputs.numpy(), labels.numpy())
    assert torch.equal(grown.inputs, torch.from_numpy(x))
    assert torch.equal(grown.labels, torch.from_numpy(y))


def rows_at(*classes):
    """Rows on a line, a list of places for each class."""
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(list(map(len, classes))))
    return Rows(torch.tensor([place for c in classes for place in c])[:, None], labels)


def clouds(counts, distance):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    chance = torch.Generator().manual_seed(0)
    noise = torch.randn(len(labels), 5, generator=chance)
    return Rows(distance * labels[:, None] + noise, labels)


@pytest.mark.parametrize(
    ("text", "sampler"),
    [
        ("borderline-smote", samplers.BorderlineSMOTE()),
        (
            "borderline-smote(kind='borderline-2', nearby=6)",
            samplers.BorderlineSMOTE(kind="borderline-2", m_neighbors=6),
        ),
        ("adasyn", samplers.ADASYN()),
    ],
)
def test_relatives_of_smote_agree_with_imbalanced_learn_where_no_class_is_too_small(text, sampler):
    train = clouds((40, 15), distance=0.3)
    grown, run = resampled(text, train, seed=3)
    sampler.set_params(random_state=3)
    x, y = sampler.fit_resample(train.inputs.numpy(), train.labels.numpy())
    assert torch.equal(grown.inputs, torch.from_numpy(x))
    assert torch.equal(grown.labels, torch.from_numpy(y))
    assert run.notes == []


def test_borderline_smote_starts_from_rows_in_danger_alone():
    apart = [90 + place / 7 for place in range(8)]
    train = rows_at([place / 19 for place in range(20)], [0.501, 0.502, *apart])
    grown, _ = resampled("borderline-smote(neighbours=1)", train)
    new = grown.inputs[30:]
    assert len(new) == 10
    assert 0.501 <= new.min() <= new.max() <= 0.502


def test_adasyn_gives_each_row_its_part_by_its_foreign_neighbours():
    # of two neighbours 2, 1, 1, 0, 0 and 0 are foreign, so 7 rows are split as 3.5, 1.75 and 1.75
    far = [100.0 + place for place in range(10)]
    train = rows_at([-0.1, 0.1, 10.1, *far], [0.0, 10.0, 10.5, 30.0, 30.1, 30.2])
    grown, _ = resampled("adasyn(neighbours=2)", train)
    new = grown.inputs[19:]
    assert len(new) == 4 + 2 + 2
    assert 0 <= new.min() <= new.max() <= 10.5


@pytest.mark.parametrize("name", ["borderline-smote", "adasyn"])
def test_classes_far_from_all_others_are_grown_by_smote_and_the_run_says_so(name):
    train = clouds((30, 12, 8), distance=100.0)
    grown, run = resampled(name, train, seed=1)
    assert torch.equal(grown.inputs, resampled("smote", train, seed=1)[0].inputs)
    assert len(run.notes) == 1 and run.notes[0].endswith("grown by SMOTE")


def test_a_class_that_lacks_too_little_for_adasyn_to_split_is_grown_by_smote():
    grown, run = resampled("adasyn", clouds((40, 39), distance=0.1))
    assert grown.labels.bincount().tolist() == [40, 40]
    assert run.notes == ["classes with no row to start from: grown by SMOTE"]


@pytest.mark.parametrize("name", ["smote", "borderline-smote", "adasyn"])
def test_other_mistakes_are_not_taken_for_a_class_without_a_start(name):
    train = clouds((20, 8), distance=0.3)
    train.inputs[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        resampled(name, train)


@pytest.mark.parametrize("name", ["smote", "borderline-smote", "adasyn"])
def test_classes_of_one_and_two_rows_are_grown_by_every_relative(train, name):
    grown, run = resampled(name, train)
    assert grown.labels.bincount().tolist() == [50, 50, 50, 50]
    assert torch.equal(grown.inputs[: len(train)], train.inputs)
    assert "classes of 1 row: repeated" in run.notes


@pytest.mark.parametrize("name", ["smote", "borderline-smote", "adasyn"])
def test_rows_of_bytes_are_interpolated_as_numbers_and_rounded(name):
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(256, (36, 1, 3, 3), generator=chance, dtype=torch.uint8)
    labels = torch.tensor([0] * 24 + [1] * 12)
    grown, _ = resampled(name, Rows(images, labels))
    as_numbers, _ = resampled(name, Rows(images.float(), labels))
    assert grown.inputs.dtype == torch.uint8
    assert torch.equal(grown.inputs, as_numbers.inputs.round().to(torch.uint8))


class Doubled(nn.Module):
    """A network whose features are twice its inputs."""

    def features(self, x):
        return 2 * x


@pytest.mark.parametrize("kind", ["smote", "borderline-smote", "adasyn"])
def test_deep_smote_grows_features_by_the_rule_it_is_given(kind):
    train = clouds((40, 15, 2), distance=0.3)
    method = recipe(f"deep-smote(kind={kind!r})")
    run = probe_run(method, (40, 15, 2), torch.float32, phase=Phase("head", 1, 0.1, 0.0))
    run.model = Doubled()
    grown = method.enter(train, run)
    expected, _ = resampled(kind, Rows(2 * train.inputs, train.labels))
    assert torch.equal(grown.inputs, expected.inputs)
    assert torch.equal(grown.labels, expected.labels)


def test_deep_smote_trains_the_head_alone_in_a_second_stage_a_ninth_as_long():
    method = recipe("deep-smote")
    run = probe_run(method, COUNTS, torch.float32)
    first, second = method.phases([Phase("main", 90, 0.1, 5e-4)], run)
    assert first == Phase("main", 90, 0.1, 5e-4)
    assert second == Phase("head", 10, 0.1, 5e-4, learn="head", frozen_bn=True, on_features=True)


def test_deep_smote_leaves_all_but_the_head_bit_identical():
    states = {}
    trained(
        recipe("deep-smote"),
        checkpoint=lambda state: states.update(
            {state["position"]: {name: t.clone() for name, t in state["model"].items()}}
        ),
    )
    changed = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert changed == {"head.weight", "head.bias"}


class Heads(Method):
    """Keeps the head as each phase begins."""

    name = "heads"
    roles = ("main", "head")

    def __init__(self):
        self.first = {}

    def batch(self, batch, run):
        self.first.setdefault(run.phase.role, run.model.head.weight.detach().clone())
        return batch


@pytest.mark.parametrize("reset", [False, True])
def test_the_head_of_deep_smote_goes_on_unless_it_is_reset(reset):
    heads, states = Heads(), []
    method = Recipe(*recipe(f"deep-smote(reset={reset})").methods, heads)
    trained(
        method,
        checkpoint=lambda s: states.append((s["position"], s["model"]["head.weight"].clone())),
    )
    trained_first = [head for position, head in states if position == 0][-1]
    assert torch.equal(heads.first["head"], trained_first) == (not reset)


class Presented(Method):
    name = "presented"
    roles = ("head",)

    def prepare(self, run):
        self.seen = run.seen


def test_the_second_stage_of_deep_smote_presents_all_classes_alike():
    presented = Presented()
    trained(Recipe(*recipe("deep-smote").methods, presented))
    classes = len(TASK_COUNTS)
    assert presented.seen.tolist() == pytest.approx([1 / classes] * classes)
