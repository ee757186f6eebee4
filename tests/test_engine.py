import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltbench import LTBenchError, Method, Recipe, recipe
from ltbench.contract.context import Batch, Output, Phase, Rows
from ltbench.errors import Diverged
from ltbench.models.mlp import Network, Options
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS, SHAPE, rows_of, trained
from ltbench.training.engine import (
    draw,
    forward,
    objective,
    portions,
    predict,
    schedule,
    shares,
    train,
)


def fresh_network():
    torch.manual_seed(0)
    return Network((1, 8, 8), 4, Options([16], batch_norm=True))


def fresh_run(epochs=3, **phase):
    run = probe_run(
        recipe("erm"), COUNTS, torch.float32, 0.0, Phase("main", epochs, 0.05, 1e-3, **phase)
    )
    run.model = fresh_network()
    run.seed = 5
    return run


def test_plain_training_is_the_plain_loop_to_the_bit():
    rows, run = rows_of(COUNTS), fresh_run(warmup=0.1)
    engine = train(Method(), rows, run, batch_size=16).state_dict()

    order = torch.Generator().manual_seed(order_seed(5))
    model = fresh_network().train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, fused=True
    )
    steps, rising, step = 9, 1, 0
    for _ in range(3):
        for index in torch.randperm(len(rows), generator=order).split(16):
            risen = (step + 1) / rising
            fallen = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
            optimizer.param_groups[0]["lr"] = 0.05 * (risen if step < rising else fallen)
            optimizer.zero_grad()
            F.cross_entropy(model(rows.inputs[index]), rows.labels[index]).backward()
            optimizer.step()
            step += 1
    by_hand = model.state_dict()
    assert all(torch.equal(engine[name], by_hand[name]) for name in by_hand)


def order_seed(seed):
    import hashlib

    return int.from_bytes(hashlib.sha256(f"{seed}/order".encode()).digest()[:6])


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine():
    factors = schedule(Phase("main", 10, 0.1, 0.0, warmup=0.1), steps=10)
    assert factors[:10] == pytest.approx([k / 10 for k in range(1, 11)])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert 0 < factors[-1] < 0.001
    assert schedule(Phase("main", 3, 0.1, 0.0), steps=1)[0] == 1


def test_the_published_cifar_lt_schedule_comes_out():
    """Five epochs of warm-up, then 0.01 of the rate from epoch 160 of 200 and 0.0001 from 180."""
    falls = {"milestones": (0.8, 0.9), "factors": (0.01, 0.0001)}
    factors = schedule(Phase("main", 200, 0.1, 2e-4, warmup=0.025, **falls), steps=2)
    by_epoch = factors[::2]
    assert factors[1::2] == by_epoch
    assert by_epoch[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert [by_epoch[e] for e in (159, 160, 179, 180, 199)] == [1.0, 0.01, 0.01, 0.0001, 0.0001]


def test_an_epoch_takes_every_row_once():
    drawn = draw(10, 10, None, torch.Generator())
    assert drawn.sort().values.tolist() == list(range(10))


def test_an_epoch_over_fewer_rows_takes_each_about_as_often():
    drawn = draw(4, 10, None, torch.Generator())
    assert len(drawn) == 10
    assert set(drawn.bincount().tolist()) <= {2, 3}


def test_an_epoch_over_more_rows_takes_none_twice():
    drawn = draw(30, 10, None, torch.Generator())
    assert len(set(drawn.tolist())) == 10


def test_seen_shares_follow_the_draw():
    labels = torch.tensor([0, 0, 0, 1])
    counts = torch.tensor([3.0, 1.0])
    assert shares(labels, None, counts).tolist() == [0.75, 0.25]
    assert shares(labels, (1 / counts)[labels], counts).tolist() == [0.5, 0.5]


class Resamples(Method):
    """Hands back `rows` instead of the training set."""

    name = "resamples"

    def __init__(self, rows=None):
        self.rows = rows

    def resample(self, train, run):
        return self.rows


@pytest.mark.parametrize("rows", [200, 5])
def test_a_resampled_set_is_trained_on_in_as_many_steps(rows):
    run = fresh_run()
    labels = torch.arange(rows) % 4
    train(Resamples(Rows(torch.randn(rows, 1, 8, 8), labels)), rows_of(COUNTS), run, 16)
    assert run.passes == 3 * sum(COUNTS)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (Rows(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 2])), "left class 3 without rows"),
        (Rows(torch.randn(4, 64), torch.arange(4)), r"torch.float32 \[64\]"),
        (Rows(torch.randn(4, 1, 8, 8).double(), torch.arange(4)), "torch.float64"),
    ],
)
def test_resampled_rows_of_another_kind_are_refused(rows, words):
    with pytest.raises(LTBenchError, match=words):
        train(Resamples(rows), rows_of(COUNTS), fresh_run(), 16)


class Explodes(Method):
    name = "explodes"

    def adjust(self, scores, labels, run):
        return scores * torch.where(run.progress > 0.5, float("nan"), 1.0)


def test_a_loss_that_is_no_number_is_told_with_its_step():
    with pytest.raises(Diverged, match=r"the loss became nan at step 6 of 9 \(phase main\)"):
        train(Explodes(), rows_of(COUNTS), fresh_run(), 16)


def test_scores_that_are_no_numbers_are_refused():
    run = fresh_run()
    nn.init.constant_(run.model.head.bias, float("inf"))
    with pytest.raises(Diverged, match="not finite"):
        predict(Method(), run.model.eval(), torch.randn(3, 1, 8, 8), run)


class Recorded(Method):
    """Notes which hooks act, and in which phase."""

    name = "recorded"
    roles = ("main", "head")

    def __init__(self):
        self.calls = []

    def enter(self, train, run):
        self.calls.append(("enter", run.phase.role))
        return train

    def prepare(self, run):
        self.calls.append(("prepare", float(run.progress)))

    def finish(self, model, validation, run):
        self.calls.append(
            ("finish", model.training, any(p.requires_grad for p in model.parameters()))
        )
        return model


def test_hooks_act_in_the_order_of_the_contract():
    recorded = Recorded()
    train(Recipe(recorded, recipe("crt").methods[0]), rows_of(COUNTS), fresh_run(epochs=2), 16)
    assert recorded.calls == [
        ("enter", "main"),
        ("prepare", 0.0),
        ("prepare", 0.5),
        ("enter", "head"),
        ("prepare", 0.0),
        ("finish", False, False),
    ]


def test_heads_are_trained_by_the_sum_of_their_losses():
    run = probe_run(recipe("erm"), (2, 2), torch.float64)
    labels = torch.tensor([0, 1])
    heads = tuple(torch.randn(2, 2, dtype=torch.float64) for _ in range(3))
    loss = objective(
        Method(), Output(heads, heads[0]), Batch(heads[0], [(labels, 1.0)], labels), run
    )
    torch.testing.assert_close(loss, sum(F.cross_entropy(head, labels) for head in heads))


@pytest.mark.parametrize("text", ["erm", "class-balanced", "mixup", "focal"])
def test_parts_by_class_add_up_to_the_whole(text):
    method = recipe(text)
    run = probe_run(method, COUNTS, torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0, 0])
    batch = method.batch(Batch(torch.zeros(6, 1), [(labels, 1.0)], labels), run)
    output = Output((torch.randn(6, 4, dtype=torch.float64),), torch.zeros(6, 1))
    few = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    parts = [objective(method, output, batch, run, factor) for factor in (few, 1 - few)]
    torch.testing.assert_close(parts[0] + parts[1], objective(method, output, batch, run))


class Penalty(Method):
    name = "penalty"

    def extra(self, output, batch, run):
        return output.features.square().sum()


def test_what_is_extra_is_added_and_shared_out_among_parts():
    run = probe_run(recipe("erm"), COUNTS, torch.float64)
    labels = torch.arange(4)
    output = Output((torch.zeros(4, 4).double(),), torch.ones(4, 2).double())
    batch = Batch(torch.zeros(4, 1), [(labels, 1.0)], labels)
    assert objective(Penalty(), output, batch, run).item() == pytest.approx(8 + math.log(4))
    half = torch.tensor([1.0, 1.0, 0.0, 0.0]).double()
    parts = [objective(Penalty(), output, batch, run, f) for f in (half, 1 - half)]
    assert sum(parts).item() == pytest.approx(8 + math.log(4))


def test_the_last_phase_learns_only_what_it_names():
    states = []
    trained(recipe("crt"), checkpoint=lambda state: states.append(dict(state)))
    assert [state["position"] for state in states] == [0, 0, 0, 1]


def test_methods_do_not_disturb_each_others_chance():
    """Mixup draws numbers of its own, so plain training sees the same rows in the same order."""
    seen = {}

    class Order(Method):
        name = "order"

        def __init__(self, text=""):
            self.text = text

        def batch(self, batch, run):
            seen.setdefault(self.text, []).append(batch.rows)
            return batch

    for text in ("erm", "mixup"):
        train(Recipe(*recipe(text).methods, Order(text)), rows_of(COUNTS), fresh_run(), 16)
    assert all(torch.equal(a, b) for a, b in zip(seen["erm"], seen["mixup"], strict=True))


def test_a_resumed_training_ends_in_the_same_bits():
    states = []
    whole = trained(recipe("mixup+crt"), checkpoint=lambda state: states.append(kept(state)))
    for state in states:
        again = trained(recipe("mixup+crt"), resume=state)
        assert torch.equal(whole.scores, again.scores)
        assert whole.run.passes == again.run.passes


def kept(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


class FeatureStage(Method):
    """Trains the head a second time, on stored features."""

    name = "feature-stage"
    roles = ("features",)

    def phases(self, plan, run):
        from dataclasses import replace

        later = replace(plan[-1], role="features", learn="head", frozen_bn=True, on_features=True)
        return [*plan, later]

    def enter(self, train, run):
        features = run.features(train.inputs)
        assert features.shape == (len(train), 16)
        assert not features.requires_grad
        return Rows(features, train.labels)


def test_a_phase_on_features_trains_the_head_alone():
    states = []
    outcome = trained(Recipe(FeatureStage()), checkpoint=lambda state: states.append(kept(state)))
    changed = {
        name
        for name, tensor in states[2]["model"].items()
        if not torch.equal(tensor, states[-1]["model"][name])
    }
    assert changed == {"head.weight", "head.bias"}
    assert outcome.scores.shape == (16, 4)  # predictions go through the whole network again


def test_features_are_those_of_evaluation_mode_and_leave_the_modes_alone():
    run = fresh_run()
    run.model.train()
    run.model.trunk.eval()
    inputs = torch.randn(5, 1, 8, 8)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    features = run.features(inputs, batch_size=2)
    assert all(torch.equal(before[name], run.model.state_dict()[name]) for name in before)
    assert run.model.training
    assert not run.model.trunk.training
    assert torch.allclose(features, run.model.eval().features(inputs))


def test_rows_at_the_side_have_features_but_no_loss():
    run = probe_run(recipe("erm"), (2, 2), torch.float64)
    labels = torch.tensor([0, 1])
    scores = torch.randn(5, 2, dtype=torch.float64)
    batch = Batch(scores, [(labels, 1.0)], labels)
    loss = objective(Method(), Output((scores,), scores), batch, run)
    torch.testing.assert_close(loss, F.cross_entropy(scores[:2], labels))


class ByHead(Method):
    name = "by-head"

    def adjust(self, scores, labels, run):
        return scores * run.head


def test_a_method_knows_which_head_it_adjusts():
    run = probe_run(recipe("erm"), (2, 2), torch.float64)
    labels = torch.tensor([0, 1])
    scores = torch.randn(2, 2, dtype=torch.float64)
    batch = Batch(scores, [(labels, 1.0)], labels)
    loss = objective(ByHead(), Output((scores, scores), scores), batch, run)
    torch.testing.assert_close(loss, math.log(2) + F.cross_entropy(scores, labels))


def test_no_step_takes_a_row_alone():
    assert portions(10, 4) == [4, 4, 2]
    assert portions(9, 4) == [4, 5]
    assert portions(8, 4) == [4, 4]
    assert portions(1, 4) == [1]
    model = trained(recipe("erm"), (16, 1)).model  # 17 rows, 16 a step, BatchNorm
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_what_is_fitted_after_training_sees_the_features_of_prediction():
    run = trained(recipe("erm")).run
    run.precision = torch.bfloat16
    inputs = torch.rand(5, *SHAPE)
    assert torch.equal(run.features(inputs), forward(run.model, inputs, run).features)
    assert not torch.equal(run.features(inputs), run.model.features(inputs))
