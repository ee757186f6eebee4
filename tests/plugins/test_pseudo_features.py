import pytest
import torch

from ltbench import Phase, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS, trained

# class 0 has three rows around (4, 0), class 1 three around (0, 4), class 2 one at (1, 8)
FEATURES = [[3.0, 0.0], [5.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 4.0], [0.5, 5.0], [1.0, 8.0]]
LABELS = [0, 0, 0, 1, 1, 1, 2]


class Bare:
    """Stands for a run whose network hands its inputs through as features."""

    def features(self, inputs):
        return inputs


def grown(features, labels):
    rows = Rows(torch.tensor(features, dtype=torch.float64), torch.tensor(labels))
    return rows, recipe("pseudo-features").methods[0].enter(rows, Bare())


def test_a_rare_class_takes_the_rows_of_the_common_class_nearest_in_direction_to_its_own_mean():
    rows, after = grown(FEATURES, LABELS)
    assert torch.equal(after.inputs[:7], rows.inputs)  # every row stays, and stays first
    assert after.labels.tolist() == [*LABELS, 2, 2, 2]
    mean = (0.5 / 3, 4.0)
    moved = [[x - mean[0] + 1, y - mean[1] + 8] for x, y in FEATURES[3:6]]
    torch.testing.assert_close(after.inputs[7:], torch.tensor(moved, dtype=torch.float64))


def test_pseudo_features_have_the_mean_of_their_class_and_the_covariance_of_their_neighbour():
    torch.manual_seed(0)
    features = torch.randn(60, 4, dtype=torch.float64).tolist()
    labels = [0] * 50 + [1] * 7 + [2] * 3
    rows, after = grown(features, labels)
    for rare in (1, 2):
        new = after.inputs[60:][after.labels[60:] == rare]
        torch.testing.assert_close(new.mean(0), rows.inputs[rows.labels == rare].mean(0))
        torch.testing.assert_close(new.T.cov(), rows.inputs[:50].T.cov())


def test_classes_of_one_size_have_nothing_to_borrow():
    rows, after = grown(FEATURES[:6], LABELS[:6])
    assert torch.equal(after.inputs, rows.inputs)


def test_a_class_without_rows_borrows_nothing():
    rows, after = grown(FEATURES, [0, 0, 0, 1, 1, 1, 3])
    assert after.labels.tolist() == [0, 0, 0, 1, 1, 1, 3, 3, 3, 3]
    assert torch.equal(after.inputs, grown(FEATURES, LABELS)[1].inputs)


def test_the_second_stage_trains_a_new_head_on_features_with_classes_drawn_equally():
    method = recipe("pseudo-features")
    run = probe_run(method, COUNTS, torch.float32)
    plan = method.phases([Phase("main", 90, 0.1, 5e-4)], run)
    assert [(p.epochs, p.learn, p.reset, p.on_features) for p in plan] == [
        (90, "", None, False),
        (10, "head", "head", True),
    ]
    done = trained(recipe("pseudo-features"))
    assert done.run.train.inputs.shape[1] == 16
    assert (done.run.train.labels.bincount() - torch.tensor(COUNTS) > 0).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert done.run.seen.tolist() == pytest.approx([0.25] * 4)


def test_only_the_head_differs_from_plain_training():
    state = trained(recipe("pseudo-features")).model.state_dict()
    plain = trained(recipe("erm")).model.state_dict()
    changed = {name for name in plain if not torch.equal(plain[name], state[name])}
    assert changed == {"head.weight", "head.bias"}
