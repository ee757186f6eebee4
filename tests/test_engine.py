import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltbench import LTBenchError, Method, Recipe, recipe
from ltbench.augmentation.views import Views
from ltbench.contract.context import Batch, Output, Phase, Rows, Run
from ltbench.errors import Diverged
from ltbench.models.mlp import Network, Options
from ltbench.models.resnet import Network as Resnet
from ltbench.models.resnet import Options as ResnetOptions
from ltbench.testing.probes import probe_run
from ltbench.testing.task import COUNTS, SHAPE, rows_of, trained
from ltbench.training import events, method_state
from ltbench.training.engine import (
    LossClosure,
    begin,
    checked,
    draw,
    entered,
    finish,
    forward,
    go_on,
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


def test_targets_count_by_their_shares():
    run = probe_run(recipe("erm"), (2, 2), torch.float64)
    scores, rows = torch.randn(2, 2, dtype=torch.float64), torch.arange(2)
    one, other = torch.tensor([0, 1]), torch.tensor([1, 1])
    batch = Batch(scores, [(one, 0.3), (other, 0.7)], rows)
    loss = objective(Method(), Output((scores,), scores), batch, run)
    expected = 0.3 * F.cross_entropy(scores, one) + 0.7 * F.cross_entropy(scores, other)
    torch.testing.assert_close(loss, expected)


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
    trained(recipe("crt"), checkpoint=lambda state: states.append(kept(state)))
    assert [state["position"] for state in states] == [0, 0, 0, 1]
    first, last = states[-2]["model"], states[-1]["model"]
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed == {"head.weight", "head.bias"}


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


class Noisy(Method):
    """Draws from torch's own generator, as dropout does."""

    name = "noisy"

    def batch(self, batch, run):
        return replace(batch, inputs=batch.inputs + torch.randn(batch.inputs.shape))


class Redraws(Method):
    """Draws in each step, and the rows of a second phase on entering it."""

    name = "redraws"
    roles = ("main", "later")

    def phases(self, plan, run):
        return [*plan, replace(plan[-1], role="later")]

    def enter(self, train, run):
        return train[torch.randperm(len(train), generator=run.rng)[:20]]

    def batch(self, batch, run):
        return replace(batch, inputs=batch.inputs + torch.rand((), generator=run.rng))


@pytest.mark.parametrize("text", ["mixup+crt", "noisy", "redraws"])
def test_a_resumed_training_ends_in_the_same_bits(text):
    def course(**given):
        return trained(Recipe(OWN[text]()) if text in OWN else recipe(text), **given)

    states = []
    whole = course(checkpoint=lambda state: states.append(kept(state)))
    for done, state in enumerate(states, 1):
        torch.manual_seed(done)
        left = []
        again = course(resume=state, checkpoint=left.append)
        assert torch.equal(whole.scores, again.scores)
        assert whole.run.passes == again.run.passes
        assert len(left) == len(states) - done


OWN = {"noisy": Noisy, "redraws": Redraws}


class Counting(Method):
    """Has learned something from each of its steps."""

    name = "counting"
    steps = 0

    def adjust(self, scores, labels, run):
        self.steps += 1
        return scores


def test_a_method_goes_on_with_what_it_has_learned():
    states, method, run = [], Counting(), fresh_run()

    def checkpoint(state):
        states.append({**kept(state), "hidden": copy.deepcopy(method_state.told(method, run))})

    train(method, rows_of(COUNTS), run, 16, checkpoint=checkpoint)
    again = Counting()
    train(again, rows_of(COUNTS), fresh_run(), 16, resume=states[0])
    assert again.steps == method.steps == 3 * 3


class Watches(Method):
    """Notes the state of its generator and what it is told, hook by hook."""

    name = "watches"

    def __init__(self):
        self.told = {}

    def resample(self, train, run):
        torch.rand((), generator=run.rng)
        self.told["resample"] = run.rng.get_state()
        return train

    def enter(self, train, run):
        self.told["enter"] = run.rng.get_state()
        return train

    def sampling_weights(self, labels, run):
        return 1 / run.counts[labels]

    def prepare(self, run):
        self.told["seen"] = run.seen

    def batch(self, batch, run):
        self.told["inputs"] = batch.inputs
        return batch

    def finish(self, model, validation, run):
        self.told["progress"] = run.progress.item()
        return model


def test_the_first_phase_goes_on_with_the_numbers_that_resampling_left():
    train(method := Watches(), rows_of(COUNTS), fresh_run(), 16)
    assert torch.equal(method.told["enter"], method.told["resample"])


def test_a_method_prepares_for_the_shares_that_its_draw_presents():
    train(method := Watches(), rows_of(COUNTS), fresh_run(), 16)
    assert method.told["seen"] == pytest.approx([0.25] * 4)


def test_training_is_over_once_a_method_finishes():
    train(method := Watches(), rows_of(COUNTS), fresh_run(), 16)
    assert method.told["progress"] == 1


def test_rows_are_trained_on_as_augmented_views():
    run, rows = fresh_run(), rows_of(COUNTS)
    run.views = Views(mean=(100.0,), std=(1.0,))
    train(method := Watches(), rows, run, 16)
    assert method.told["inputs"].mean() < -90


def test_a_listener_is_told_the_epochs_of_all_phases_and_their_loss():
    told = []
    with events.heard_by(told.append):
        trained(Recipe(Redraws()))
    assert [(one.epoch, one.epochs, one.share) for one in told] == [
        (k, 6, pytest.approx(k / 6)) for k in range(1, 7)
    ]
    assert all(0 < one.loss < 10 for one in told)


class Restarts(Method):
    """Begins a second phase, in which nothing is learned, with a head of its own."""

    name = "restarts"

    def phases(self, plan, run):
        return [*plan, replace(plan[-1], role="later", lr=0.0, reset="head")]

    def enter(self, train, run):
        self.head = run.model.head.weight.detach().clone()
        return train


def test_a_phase_begins_with_a_fresh_module_where_it_says_so():
    method = Restarts()
    method.roles = ("main", "later")
    model = train(Recipe(method), rows_of(COUNTS), fresh_run(), 16)
    assert not torch.equal(model.head.weight, method.head)


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
    assert portions(13, 4) == [4, 4, 5]
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


def same(first, second):
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


COURSES = ["erm", "mixup+crt", "ssp(share=1.0)+ldam", "smote+two-phase", "cmo+drw"]


@pytest.mark.parametrize("text", COURSES)
def test_a_training_is_its_three_parts_to_the_bit(text):
    whole = train(recipe(text), rows_of(COUNTS), run := fresh_run(), 16)
    method, parted = recipe(text), fresh_run()
    rows, plan = begin(method, rows_of(COUNTS), parted)
    go_on(method, rows, plan, parted, 16, sum(COUNTS))
    assert same(finish(method, parted), whole)
    assert parted.passes == run.passes


@pytest.mark.parametrize("text", COURSES[1:])
def test_going_on_twice_is_going_on_once_to_the_bit(text):
    whole = train(recipe(text), rows_of(COUNTS), fresh_run(), 16)
    method, run = recipe(text), fresh_run()
    rows, plan = begin(method, rows_of(COUNTS), run)
    for first, phase in enumerate(plan):
        go_on(method, rows, [phase], run, 16, sum(COUNTS), first=first)
    assert same(finish(method, run), whole)


def test_a_training_that_goes_on_resumes_from_each_of_its_epochs():
    def course(checkpoint=None, resume=None):
        method, run = recipe("mixup+crt"), fresh_run()
        rows, plan = begin(method, rows_of(COUNTS), run)
        for first, phase in enumerate(plan):
            told = {"checkpoint": checkpoint, "resume": resume, "first": first}
            go_on(method, rows, [phase], run, 16, sum(COUNTS), **told)
        return finish(method, run)

    states = []
    whole = course(checkpoint=lambda state: states.append(kept(state)))
    assert [state["position"] for state in states] == [0, 0, 0, 1]
    assert all(same(course(resume=state), whole) for state in states)


def test_a_second_training_of_one_run_draws_as_the_first_did():
    run, orders = fresh_run(), []

    class Order(Method):
        name = "order"

        def batch(self, batch, run):
            orders.append(batch.rows.tolist())
            return batch

    for _ in range(2):
        run.model = fresh_network()
        train(Order(), rows_of(COUNTS), run, 16)
    assert orders[: len(orders) // 2] == orders[len(orders) // 2 :]


GROUPS = torch.arange(sum(COUNTS)) % 3


def grouped():
    """The rows with a group each, which their first pixel tells as well."""
    rows = rows_of(COUNTS)
    rows.inputs[:, 0, 0, 0] = GROUPS.float()
    return replace(rows, groups=GROUPS)


def masked():
    """The rows as eight positions of eight numbers, of which as many are filled as a row says."""
    rows = rows_of(COUNTS)
    filled = torch.arange(8)[None] < 1 + torch.arange(len(rows))[:, None] % 8
    return replace(rows, inputs=rows.inputs[:, 0], mask=filled)


def test_groups_and_masks_travel_with_their_rows():
    rows = replace(grouped(), mask=masked().mask)
    taken = rows[torch.tensor([5, 3])]
    assert torch.equal(taken.groups, GROUPS[[5, 3]])
    assert torch.equal(taken.mask, rows.mask[[5, 3]])
    there = taken.to(torch.device("meta"))
    assert (there.groups.device.type, there.mask.device.type) == ("meta", "meta")
    assert rows_of(COUNTS).beside() == {}


class Groups(Method):
    """Keeps the groups that each hook is given, beside those of the batch's pixels."""

    name = "groups"

    def __init__(self):
        self.pairs = []

    def batch(self, batch, run):
        self.own = batch.inputs[:, 0, 0, 0]
        return batch

    def seen(self, run):
        self.pairs.append((run.groups.float(), self.own))

    def adjust(self, scores, labels, run):
        self.seen(run)
        return scores

    def weight(self, labels, run):
        self.seen(run)
        return 1.0 + run.groups

    def criterion(self, scores, labels, run):
        self.seen(run)
        return super().criterion(scores, labels, run)


@pytest.mark.parametrize("text", ["erm", "undersampling", "oversampling", "crt", "sam"])
def test_groups_reach_the_hooks_aligned_with_the_labels(text):
    groups, run = Groups(), fresh_run()
    groups.roles = ("main", "head")
    train(Recipe(*recipe(text).methods, groups), grouped(), run, 16)
    assert len(groups.pairs) >= 3 * 9
    assert all(torch.equal(told, own) for told, own in groups.pairs)
    assert run.groups is None


class OfGroup(Method):
    """Enters with the rows of one group alone."""

    name = "of-group"

    def enter(self, train, run):
        return train[train.groups == 1]


def test_rows_that_are_chosen_on_entering_keep_their_groups():
    groups = Groups()
    train(Recipe(OfGroup(), groups), grouped(), fresh_run(), 16)
    assert all((told == 1).all() for told, _ in groups.pairs)


class Enters(Method):
    """Hands back `rows` on entering the phase."""

    name = "enters"

    def __init__(self, rows=None):
        self.rows = rows

    def enter(self, train, run):
        return self.rows


def test_rows_that_come_without_their_groups_are_refused_in_a_sentence():
    bare = Rows(torch.randn(8, 1, 8, 8), torch.arange(8) % 4)
    for method, who in ((Resamples(bare), "resampled rows"), (Enters(bare), "rows of phase main")):
        with pytest.raises(LTBenchError, match=f"^{who} come without groups, which all rows here"):
            train(method, grouped(), fresh_run(), 16)
    with pytest.raises(LTBenchError, match="^resampled rows come without groups"):
        train(recipe("smote"), grouped(), fresh_run(), 16)
    masked_too = replace(grouped(), mask=torch.ones(sum(COUNTS), 3, dtype=torch.bool))
    with pytest.raises(LTBenchError, match="^resampled rows come without groups and mask"):
        train(Resamples(bare), masked_too, fresh_run(), 16)


def test_features_may_come_without_the_masks_of_their_rows_and_rows_may_not():
    run, rows = fresh_run(), masked()
    bare = Rows(rows.inputs, rows.labels)
    with pytest.raises(LTBenchError, match="^rows of phase main come without mask"):
        entered(bare, rows, run)
    run.phase = replace(run.phase, on_features=True)
    assert torch.equal(entered(bare, rows, run).labels, rows.labels)


def test_a_phase_without_rows_is_refused_in_a_sentence():
    none = rows_of(COUNTS)[torch.empty(0, dtype=torch.int64)]
    with pytest.raises(LTBenchError, match="^rows of phase main: there are none to train on$"):
        train(Enters(none), rows_of(COUNTS), fresh_run(), 16)
    values = valued()
    with pytest.raises(LTBenchError, match="^resampled rows: there are none to train on$"):
        train(Resamples(values[values.labels > 99]), values, fresh_run(), 16)


class Mixes(Method):
    """Mixes each batch with its reverse; tells the groups of both, of one, or of none."""

    name = "mixes"

    def __init__(self, told=2):
        self.told = told

    def batch(self, batch, run):
        ((labels, _),), (groups,) = batch.targets, batch.groups
        targets = [(labels, 0.5), (labels.flip(0), 0.5)]
        return replace(batch, targets=targets, groups=(groups, groups.flip(0))[: self.told])


class InTurn(Method):
    """Keeps the groups and labels of each target of a step."""

    name = "in-turn"

    def __init__(self):
        self.seen = []

    def weight(self, labels, run):
        self.seen.append((run.groups, labels))


def test_each_target_of_a_mixed_batch_has_its_groups():
    watch = InTurn()
    train(Recipe(Mixes(), watch), grouped(), fresh_run(), 16)
    for (groups, labels), (others, turned) in zip(watch.seen[::2], watch.seen[1::2], strict=True):
        assert torch.equal(labels.flip(0), turned)
        assert torch.equal(groups.flip(0), others)


@pytest.mark.parametrize("told", [0, 1])
def test_a_batch_that_mixes_rows_without_telling_their_groups_is_refused(told):
    with pytest.raises(LTBenchError, match=f"mixes labels 2 times, but tells the groups of {told}"):
        train(Mixes(told), grouped(), fresh_run(), 16)


class Averaged(nn.Module):
    """The mean of the filled positions, and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(8, 16), nn.Linear(16, 4)
        self.seen = []

    def features(self, x, mask):
        self.seen.append((x, mask))
        weights = mask.to(x.dtype)
        return (self.body(x).relu() * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)


@pytest.mark.parametrize("text", ["erm", "undersampling", "sam"])
def test_masks_reach_the_network_in_training_and_predicting(text):
    run, rows = fresh_run(), masked()
    run.model = Averaged()
    model = train(recipe(text), rows, run, 16)
    lengths = {
        x.numpy().tobytes(): m.sum().item() for x, m in zip(rows.inputs, rows.mask, strict=True)
    }
    for inputs, mask in model.seen:
        assert [lengths[x.numpy().tobytes()] for x in inputs] == mask.sum(1).tolist()
    model.seen.clear()
    scores, _ = predict(Method(), model, rows.inputs, run, batch_size=10, mask=rows.mask)
    assert [len(mask) for _, mask in model.seen] == [10, 10, 10, 10, 6]
    unfilled = rows.inputs.masked_fill(~rows.mask[..., None], 99.0)
    assert torch.equal(predict(Method(), model, unfilled, run, mask=rows.mask)[0], scores)


class EachClass(Method):
    """Tells each class from all others, of which a row may have several."""

    name = "each-class"

    def criterion(self, scores, labels, run):
        losses = F.binary_cross_entropy_with_logits(scores, labels.to(scores), reduction="none")
        return losses.mean(1)


class Squared(Method):
    """Fits a number."""

    name = "squared"

    def criterion(self, scores, labels, run):
        return (scores[:, 0] - labels).square()


def several():
    """Rows that have their class, and every third the class after it as well."""
    rows = rows_of(COUNTS)
    own = F.one_hot(rows.labels, 4)
    every = torch.maximum(own, own.roll(1, 1) * (torch.arange(len(rows)) % 3 == 0).long()[:, None])
    return replace(rows, labels=every.float())


def valued():
    """Rows whose target is a number."""
    rows = rows_of(COUNTS)
    return replace(rows, labels=rows.inputs.mean((1, 2, 3)))


@pytest.mark.parametrize(("method", "rows"), [(EachClass, several), (Squared, valued)])
def test_other_targets_than_a_class_are_trained_on_by_a_criterion_of_their_own(method, rows):
    def loss(run):
        scores = forward(run.model.eval(), rows().inputs, run).heads[0]
        return method().criterion(scores, rows().labels, run).mean().item()

    before, after = fresh_run(), fresh_run(epochs=20)
    train(method(), rows(), after, 16)
    assert loss(after) < 0.5 * loss(before)


@pytest.mark.parametrize(("method", "rows"), [(EachClass, several), (Squared, valued)])
def test_rows_with_other_targets_are_resampled_and_drawn_by_weight(method, rows):
    class Half(Method):
        name = "half"

        def resample(self, train, run):
            return train[torch.arange(0, len(train), 2)]

        def sampling_weights(self, labels, run):
            assert len(labels) == sum(COUNTS) // 2
            return torch.ones(len(labels))

    run = fresh_run()
    train(Recipe(method(), Half()), rows(), run, 16)
    assert run.passes == 3 * sum(COUNTS)


@pytest.mark.parametrize("kind", [torch.float32, torch.int64, torch.bool])
def test_shares_of_several_labels_a_row_are_those_of_all_labels(kind):
    labels = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0]]).to(kind)
    counts = torch.tensor([3.0, 1.0, 1.0, 1.0])
    assert shares(labels, None, counts).tolist() == pytest.approx([3 / 6, 1 / 6, 1 / 6, 1 / 6])
    # with weights 1/2, 1/4, 1/4: sums 1, 1/2, 1/4, and the class without rows the least, 1/4
    weighed = shares(labels, torch.tensor([0.5, 0.25, 0.25]), counts)
    assert weighed.tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 8])


def test_shares_of_numbers_are_those_of_the_counts():
    counts = torch.tensor([3.0, 1.0])
    assert shares(torch.tensor([0.1, 2.5]), None, counts).tolist() == [0.75, 0.25]
    assert shares(torch.tensor([0.1, 2.5]), torch.ones(2), counts).tolist() == [0.75, 0.25]


def test_a_step_knows_which_classes_are_there_whatever_the_targets():
    run = fresh_run()
    closure = LossClosure(Method(), Method().optimizer(run.model, run), run)

    def present(*targets):
        rows = torch.arange(len(targets[0]))
        closure.take(Batch(rows, [(labels, 0.5) for labels in targets], rows), torch.zeros(()))
        return closure.present.tolist()

    assert present(torch.tensor([0, 2]), torch.tensor([2, 2])) == [True, False, True, False]
    assert present(torch.eye(4)[[1, 3]]) == [False, True, False, True]
    assert present(torch.tensor([0.3, 1.7])) == [True] * 4  # numbers tell none apart


def flagged():
    """The rows of several labels, told in whole numbers."""
    rows = several()
    return replace(rows, labels=rows.labels.long())


def test_what_a_loss_does_not_reach_has_no_gradient_not_one_of_nothing():
    run, rows = fresh_run(), rows_of(COUNTS)
    unused = torch.nn.Parameter(torch.ones(1))
    run.model.register_parameter("unused", unused)
    closure = LossClosure(Method(), Method().optimizer(run.model, run), run)
    unused.grad = torch.ones(1)
    index = torch.arange(len(rows))
    closure.take(Batch(rows.inputs, [(rows.labels, 1.0)], index), torch.zeros(()))
    closure()
    assert unused.grad is None  # so that momentum and weight decay leave it alone


@pytest.mark.parametrize(
    ("method", "rows"), [(EachClass, several), (EachClass, flagged), (Squared, valued)]
)
def test_a_step_that_takes_classes_apart_is_refused_where_rows_have_no_class(method, rows):
    apart = Recipe(method(), *recipe("imbsam").methods)
    with pytest.raises(LTBenchError, match="needs a class for each row, but targets are torch"):
        train(apart, rows(), fresh_run(), 16)


def test_resampled_rows_with_other_targets_are_refused():
    with pytest.raises(
        LTBenchError, match=r"the labels of resampled rows are torch.int64 \[\] each"
    ):
        checked(rows_of(COUNTS), several(), fresh_run())
    fewer = several()[several().labels[:, 3] == 0]
    with pytest.raises(LTBenchError, match="resampling left class 3 without rows"):
        checked(fewer, several(), fresh_run())


def test_a_class_without_rows_counts_one_and_is_seen_as_one():
    counts = torch.tensor([10.0, 0.0, 5.0])
    run = Run(counts, counts / 15, torch.zeros(()), Phase("main", 1, 0.1, 0.0))
    assert run.counts.tolist() == [10, 1, 5]
    assert run.exact_counts.tolist() == [10, 0, 5]
    assert run.seen.tolist() == pytest.approx([10 / 16, 1 / 16, 5 / 16])
    labels = torch.tensor([0] * 10 + [2] * 5)
    assert torch.equal(shares(labels, None, run.counts), run.seen)
    # drawn evenly each class has 1; that without rows the least of the weights, 1/10
    even = shares(labels, 1 / run.counts[labels], run.counts)
    assert even.tolist() == pytest.approx([1 / 2.1, 0.1 / 2.1, 1 / 2.1])


def test_what_resampling_lacks_is_told_beside_what_it_lacked_before():
    rows, run = rows_of((10, 0, 5)), probe_run(recipe("erm"), (10, 0, 5), torch.float32)
    assert len(checked(rows[rows.labels >= 0], rows, run)) == 15
    with pytest.raises(LTBenchError, match="left class 2 without rows; class 1 had none before"):
        checked(rows[rows.labels == 0], rows, run)


class Numbered(nn.Module):
    """Scores each row by the number that it holds, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.head, self.seen = nn.Linear(1, 2), []

    def features(self, x):
        self.seen.append(x[:, 0].tolist())
        return x


def seen_in_order(inputs, seed=5):
    run, model = probe_run(Method(), (4, 2), torch.float32), Numbered()
    run.seed = seed
    scores, decided = predict(Method(), model, inputs, run)
    assert torch.allclose(scores, model.head(inputs))
    assert torch.equal(decided, scores.argmax(1))
    return model.seen


def test_rows_to_predict_come_in_an_order_that_takes_all_rows_to_know():
    rows = torch.arange(200.0)[:, None]
    (first,), (again,), (other,) = (seen_in_order(rows, seed) for seed in (5, 5, 6))
    assert sorted(first) == list(range(200))
    assert first == again
    assert sorted(first) != first != other
    changed = rows.clone()
    changed[7] = 7.5
    (moved,) = seen_in_order(changed)
    assert [round(number) for number in moved] != first


def test_rows_to_predict_come_in_portions():
    assert [len(part) for part in seen_in_order(torch.arange(600.0)[:, None])] == [256, 256, 88]


@pytest.mark.parametrize("rows", [5, 257, 500])
@pytest.mark.parametrize("kind", [Network, Resnet])
def test_one_seed_predicts_the_same_bits(rows, kind):
    torch.manual_seed(0)
    options = Options([128], batch_norm=True) if kind is Network else ResnetOptions(8, width=4)
    model = kind((1, 8, 8), 10, options).eval()
    run = probe_run(Method(), [10] * 10, torch.float32)
    inputs = torch.randn(rows, 1, 8, 8)
    first, second = (predict(Method(), model, inputs, run) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    plain = model(inputs)
    assert torch.allclose(first[0], plain, atol=1e-5)


def test_a_method_that_tells_labels_by_their_place_is_left_to_chance():
    class ByPlace(Method):
        def decide(self, scores, run):
            return torch.arange(4).repeat_interleave(100)

    run = fresh_run()
    inputs = torch.randn(400, 1, 8, 8)
    _, decided = predict(ByPlace(), run.model.eval(), inputs, run)
    hits = (decided == torch.arange(4).repeat_interleave(100)).float().mean()
    assert hits < 0.5


def test_methods_see_all_that_the_network_puts_out_while_a_loss_is_made():
    told = []

    class Looks(Method):
        def weight(self, labels, run):
            told.append(run.output.features[: len(labels)])
            return told[-1].norm(dim=1)

    run = fresh_run(epochs=1)
    train(Looks(), rows_of(COUNTS), run, batch_size=16)
    assert {features.shape[1] for features in told} == {16}
    assert run.output is None


def test_what_the_network_puts_out_is_there_until_the_last_term_of_a_loss_and_no_longer():
    told = []

    class Looks(Method):
        def criterion(self, scores, labels, run):
            torch.testing.assert_close(run.output.heads[run.head][: len(labels)] + 1, scores)
            return super().criterion(scores, labels, run)

        def adjust(self, scores, labels, run):
            return scores + 1

        def extra(self, output, batch, run):
            told.append(run.output is output)

    class Raises(Looks):
        def extra(self, output, batch, run):
            raise RuntimeError("as always")

    run = fresh_run(epochs=1)
    train(Recipe(Looks()), rows_of(COUNTS), run, batch_size=16)
    assert told and all(told)
    run = fresh_run(epochs=1)
    with pytest.raises(RuntimeError, match="as always"):
        train(Raises(), rows_of(COUNTS), run, batch_size=16)
    assert run.output is None


class Average(Method):
    """Ends as the mean of the weights over the steps, each step counting for a tenth."""

    name = "average"

    def build(self, model, run):
        run.keep("average", model)
        return model

    def step(self, closure, optimizer, run):
        super().step(closure, optimizer, run)
        leading = run.model.state_dict()
        for name, tensor in run.kept["average"].state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(leading[name], 0.1)

    def finish(self, model, validation, run):
        return run.kept["average"]


class Late(Average):
    """Keeps its network too late for a training that is resumed."""

    def build(self, model, run):
        return model

    def step(self, closure, optimizer, run):
        if "average" not in run.kept:
            run.keep("average", run.model)
        super().step(closure, optimizer, run)


def test_a_kept_network_is_a_copy_that_nothing_trains_or_resets():
    states = []
    run = fresh_run()
    run.phase = replace(run.phase, reset="")
    begun = fresh_network().state_dict()
    average = train(Average(), rows_of(COUNTS), run, 16, checkpoint=states.append)
    assert average is run.kept["average"]
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert not average.training
    assert not torch.equal(average.state_dict()["head.weight"], begun["head.weight"])
    assert [*states[0]["kept"]] == ["average"]
    learning = sum(len(group["params"]) for group in states[0]["optimizer"]["param_groups"])
    assert learning == len([*fresh_network().parameters()])


def test_a_training_with_a_kept_network_resumes_and_leaves_none_to_the_next():
    states = []
    rows, run = rows_of(COUNTS), fresh_run()

    def keep(state):
        assert method_state.told(method, run) is not None
        states.append(copy.deepcopy(state))

    method = Average()
    whole = train(method, rows, run, 16, checkpoint=keep).state_dict()
    for state in states:
        again = train(Average(), rows, fresh_run(), 16, resume=state).state_dict()
        assert all(torch.equal(whole[name], again[name]) for name in whole)
    run.model = fresh_network()
    begin(Method(), rows, run)
    assert run.kept == {}


def test_a_network_that_is_not_kept_again_cannot_be_resumed():
    states = []
    train(Late(), rows_of(COUNTS), fresh_run(), 16, checkpoint=states.append)
    with pytest.raises(method_state.Unresumable, match="'average' was not made again; keep it in"):
        train(Late(), rows_of(COUNTS), fresh_run(), 16, resume=states[0])


def test_a_kept_network_has_a_name_of_its_own():
    run = fresh_run()
    assert run.keep("teacher", run.model) is run.kept["teacher"] is not run.model
    with pytest.raises(LTBenchError, match="kept as 'teacher' already"):
        run.keep("teacher", run.model)
    with pytest.raises(LTBenchError, match="7 is no torch.nn.Module"):
        run.keep("seven", 7)
