from types import SimpleNamespace

import pytest
import torch
from msgspec.structs import replace

from ltbench import Rows, recipe
from ltbench.testing.task import rows_of
from ltbench.tracks.distillation.checks import BUDGET, COUNTS, distilled
from ltbench_plugins.distillation.selection import first


class Itself(torch.nn.Module):
    """A network whose features are its inputs."""

    def features(self, x):
        return x


def chosen(text, inputs, labels, ipc):
    network = Itself()
    run = SimpleNamespace(
        granted=SimpleNamespace(ipc=ipc, pool=lambda balanced=False: [(network, network)]),
        num_classes=2,
        rng=torch.Generator().manual_seed(0),
        plain=lambda x: x,
        through=lambda model, x: model.features(x),
    )
    rows = Rows(torch.tensor(inputs)[:, None], torch.tensor(labels))
    kept = recipe(text).methods[0].resample(rows, run)
    return kept.inputs[:, 0].tolist(), kept.labels.tolist()


# class 0 has mean 4, class 1 has mean 20
INPUTS, LABELS = [0.0, 3.0, 9.0, 10.0, 30.0], [0, 0, 0, 1, 1]


def test_herding_keeps_the_running_mean_close_to_the_class_mean():
    # of class 0, 3 is nearest to 4; beside it 9 makes a mean of 6 and 0 one of 1.5
    kept, labels = chosen("herding", INPUTS, LABELS, 2)
    assert kept == [3.0, 9.0, 10.0, 30.0]
    assert labels == [0, 0, 1, 1]


def test_kcenter_starts_near_the_mean_and_goes_to_the_farthest():
    # from 3, 9 is farther than 0
    assert chosen("kcenter", INPUTS, LABELS, 2)[0] == [3.0, 9.0, 10.0, 30.0]
    assert chosen("kcenter", INPUTS, LABELS, 1)[0] == [3.0, 10.0]


def test_random_keeps_every_row_before_it_repeats_one():
    kept, labels = chosen("random", INPUTS, LABELS, 3)
    assert sorted(kept[:3]) == [0.0, 3.0, 9.0]
    assert set(kept[3:]) == {10.0, 30.0}
    assert labels == [0, 0, 0, 1, 1, 1]


def test_rows_with_the_least_keys_come_first_in_rounds():
    labels = torch.tensor([1, 0, 1, 0, 1])
    key = torch.tensor([0.3, 0.9, 0.1, 0.2, 0.2])
    assert first(key, labels, 3, SimpleNamespace(num_classes=2)).tolist() == [3, 1, 3, 2, 4, 0]


@pytest.mark.parametrize("text", ["herding", "kcenter", "random"])
def test_a_small_class_gives_all_its_rows(text):
    rows = rows_of(COUNTS)
    kept = distilled(recipe(text), rows, replace(BUDGET, ipc=4))
    assert kept.labels.bincount().tolist() == [4] * 4
    assert len(kept.inputs[kept.labels == 3].unique(dim=0)) == 4
    real = {row.numpy().tobytes() for row in rows.inputs}
    assert {row.numpy().tobytes() for row in kept.inputs} <= real


def test_full_keeps_what_it_is_given():
    rows = rows_of(COUNTS)
    assert distilled(recipe("full"), rows) is rows
