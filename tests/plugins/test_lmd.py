import pytest
import torch

from ltbench import LTBenchError, Phase, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS, trained


class Bare:
    """Stands for a run whose network hands its inputs through as features."""

    phase = Phase("head", 1000, 0.1, 0.0)

    def __init__(self, rows):
        self.counts = rows.labels.bincount().clamp(min=1)
        self.num_classes = len(self.counts)
        self.rng = torch.Generator().manual_seed(0)

    def features(self, inputs):
        return inputs


def virtual(features, labels, text="lmd"):
    rows = Rows(torch.tensor(features, dtype=torch.float64), torch.tensor(labels))
    return recipe(text).methods[0].enter(rows, Bare(rows))


CROSS = [[1.0, 0.0], [3.0, 0.0], [2.0, 2.0], [2.0, -2.0]]  # mean (2, 0), variances 2/3 and 8/3


def test_virtual_features_have_the_mean_and_covariance_of_the_class_plus_the_ridge():
    after = virtual([*CROSS * 5, [7.0, 7.0]], [0] * 20 + [1])
    drawn = after.inputs[after.labels == 0]
    scale = 20 / 19 / 4  # the code divides by rows - 1
    expected = torch.tensor([[2 * scale + 0.01, 0.0], [0.0, 8 * scale + 0.01]]).double()
    assert len(drawn) == 10_500
    torch.testing.assert_close(drawn.mean(0), torch.tensor([2.0, 0.0]).double(), rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.T.cov(), expected, rtol=0, atol=0.12)


def test_correlated_features_stay_correlated():
    line = [[float(k), 2.0 * k] for k in range(5)]
    drawn = virtual(line + line, [0] * 5 + [1] * 5, "lmd(ridge=0.0)").inputs
    torch.testing.assert_close(drawn[:, 1], 2 * drawn[:, 0])


def test_a_class_of_one_row_has_the_ridge_alone():
    after = virtual([*CROSS * 5, [7.0, 5.0]], [0] * 20 + [1])
    drawn = after.inputs[after.labels == 1]
    torch.testing.assert_close(drawn.mean(0), torch.tensor([7.0, 5.0]).double(), rtol=0, atol=0.01)
    torch.testing.assert_close(drawn.T.cov(), 0.01 * torch.eye(2).double(), rtol=0, atol=0.001)


def test_a_class_without_rows_gets_no_virtual_features():
    after = virtual([*CROSS, [7.0, 5.0]], [0] * 4 + [2], "lmd(virtual=30)")
    assert after.labels.bincount().tolist() == [30, 0, 30]
    assert torch.isfinite(after.inputs).all()


def test_classes_get_equally_many_and_no_more_than_asked_for_or_presented():
    few = virtual([*CROSS, [7.0, 5.0]], [0] * 4 + [1], "lmd(virtual=30)")
    assert few.labels.bincount().tolist() == [30, 30]
    run = trained(recipe("lmd")).run  # one epoch of 46 rows, 4 classes
    assert run.train.labels.bincount().tolist() == [12, 12, 12, 12]
    assert run.train.inputs.shape[1] == 16


def test_the_second_stage_trains_a_new_head_on_features():
    method = recipe("lmd")
    run = probe_run(method, COUNTS, torch.float32)
    plan = method.phases([Phase("main", 90, 0.1, 5e-4)], run)
    assert [(p.epochs, p.learn, p.reset, p.on_features) for p in plan] == [
        (90, "", None, False),
        (10, "head", "head", True),
    ]
    state = trained(recipe("lmd")).model.state_dict()
    plain = trained(recipe("erm")).model.state_dict()
    changed = {name for name in plain if not torch.equal(plain[name], state[name])}
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize("wrong", ["virtual=0", "ridge=-1.0"])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(LTBenchError, match=wrong.split("=")[0]):
        recipe(f"lmd({wrong})")
