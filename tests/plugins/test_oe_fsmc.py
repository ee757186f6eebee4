import copy
import math
from types import SimpleNamespace

import pytest
import torch
from compressing import recovering

from ltbench import LTBenchError, recipe
from ltbench.contract.context import Batch, Output, Rows
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.tracks.compression.pruning import Graph, watched
from ltbench.training.engine import train
from ltbench_plugins.compression.oe_fsmc import class_aware, complement, one_in_five

BASES = ["bp", "kd", "mir", "fskd", "cd", "practise"]


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


def method(text="oe-fsmc"):
    return recipe(text).methods[0]


def test_the_complement_sums_to_one_and_falls_with_the_count():
    gamma = complement(float64([100, 10, 1]))
    # 100 + 1 - n over its sum: 1, 91, 100 of 192
    assert gamma.tolist() == pytest.approx([1 / 192, 91 / 192, 100 / 192])
    assert gamma.sum().item() == pytest.approx(1)
    assert gamma.diff().gt(0).all()
    assert (3 * gamma).mean().item() == pytest.approx(1)


def test_the_complement_of_balanced_rows_is_uniform():
    assert complement(float64([5, 5, 5, 5])).tolist() == [0.25] * 4


def test_the_loss_of_labels_is_the_weighed_cross_entropy():
    made = method()
    made.gamma, made.labels = complement(float64([100, 10, 1])), torch.tensor([2, 1])
    rows = [[1.0, 0.0, -1.0], [0.0, 2.0, 1.0]]
    scores = float64(rows).requires_grad_()
    loss = made.of_labels(scores)
    expected, slopes = 0.0, []
    for row, y, g in zip(rows, (2, 1), (100 / 192, 91 / 192), strict=True):
        total = sum(map(math.exp, row))
        expected += 3 * g * -math.log(math.exp(row[y]) / total) / 2
        slopes.append([3 * g / 2 * (math.exp(z) / total - (k == y)) for k, z in enumerate(row)])
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    (slope,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(slope, float64(slopes))


@pytest.mark.parametrize(
    ("text", "progress", "strength"),
    [
        ("oe-fsmc", 0.0, 0.05),
        ("oe-fsmc", 0.3, 0.025),
        ("oe-fsmc", 0.9, 0.0),
        ("oe-fsmc(rho=0.2, decay=0.0)", 0.9, 0.2),
    ],
)
def test_the_strength_of_labels_falls_to_nothing(text, progress, strength):
    found = method(text).strength(SimpleNamespace(progress=torch.tensor(progress)))
    assert float(found) == pytest.approx(strength)


def test_what_is_added_is_the_others_loss_and_that_of_labels():
    made = recovering("kd+oe-fsmc(lam=0.5, rho=0.2)")
    run = begun(rows_of(COUNTS))
    run.recipe = made
    oe = made.methods[1]
    oe.prepare(run)
    batch = Batch(run.train.inputs[:4], [(run.train.labels[:4], 1.0)], torch.arange(4))
    oe.batch(batch, run)
    with torch.no_grad():
        aside = run.aside(oe.inputs)
        expected = 0.5 * made.methods[0].mimic(aside, oe.inputs, run)
        expected += 0.2 * oe.of_labels(aside.heads[0])
        assert torch.allclose(oe.extra(None, batch, run), expected)
    assert len(oe.inputs) == len(batch.rows)


def test_labels_are_drawn_afresh_at_each_step_and_again_by_the_seed():
    drawn = []
    for _ in range(2):
        run, oe = begun(rows_of((40, 3, 2))), method()
        run.recipe = recovering("kd+oe-fsmc")
        oe.prepare(run)
        batch = Batch(run.train.inputs, [(run.train.labels, 1.0)], torch.arange(45))
        steps = []
        for _ in range(40):
            assert oe.batch(batch, run) is batch
            steps.append(oe.labels)
        drawn.append(torch.stack(steps))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0][0], drawn[0][1])
    shares = drawn[0].flatten().bincount(minlength=3) / drawn[0].numel()
    # complement of 40, 3, 2: 2, 39, 40 of 81
    assert shares.tolist() == pytest.approx([2 / 81, 39 / 81, 40 / 81], abs=0.03)


def test_the_pass_of_other_images_leaves_the_running_statistics_bit_by_bit():
    run, oe = begun(rows_of(COUNTS)), method()
    run.recipe = recovering("kd+oe-fsmc")
    run.model.train()
    oe.prepare(run)
    before = copy.deepcopy(run.model.state_dict())
    batch = Batch(run.train.inputs, [(run.train.labels, 1.0)], torch.arange(len(run.train)))
    oe.extra(Output((), batch.inputs), oe.batch(batch, run), run).backward()
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert run.model.trunk[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("base", BASES)
def test_without_strength_it_is_the_base_to_the_bit(base):
    rows = rows_of(COUNTS)
    plain, idle = (
        compressed(recipe(text), rows) for text in (base, f"{base}+oe-fsmc(lam=0.0, rho=0.0)")
    )
    assert plain.state.keys() == idle.state.keys()
    assert all(torch.equal(plain.state[key], idle.state[key]) for key in plain.state)


@pytest.mark.parametrize("base", BASES)
def test_every_base_is_moved_by_other_images(base):
    rows = rows_of(COUNTS)
    plain, helped = (compressed(recipe(text), rows) for text in (base, f"{base}+oe-fsmc"))
    assert not torch.equal(plain.scores, helped.scores)
    assert "origin: reconstruction" in helped.run.notes


@pytest.mark.parametrize("part", ["lam=0.0", "rho=0.0", "decay=0.0", "class_aware=True"])
def test_every_part_is_switched_alone(part):
    rows = rows_of(COUNTS)
    whole, other = (
        compressed(recipe(f"kd+oe-fsmc({text})"), rows)
        for text in ("patience=0.0", f"{part}, patience=0.0")
    )
    assert not torch.equal(whole.scores, other.scores)


def test_early_stopping_is_switched_alone():
    whole, other = (
        compressed(recipe(f"kd+oe-fsmc(patience={p})"), rows_of(COUNTS)) for p in (0.9, 0.0)
    )
    assert not torch.equal(whole.scores, other.scores)


def test_one_in_five_rows_of_classes_with_five_are_put_aside():
    labels = torch.tensor([0] * 11 + [1] * 5 + [2] * 4)
    run = SimpleNamespace(num_classes=3, rng=torch.Generator().manual_seed(0))
    aside = one_in_five(labels, run)
    assert labels[aside].bincount(minlength=3).tolist() == [2, 1, 0]


def test_training_stops_at_the_best_moment():
    run = begun(rows_of(COUNTS), epochs=6)
    made = recovering("kd+oe-fsmc(patience=1.0)")
    seen = []
    oe = made.methods[1]
    watch = oe.watch

    def watched(run):
        watch(run)
        seen.append((float(oe.least), copy.deepcopy(run.model.state_dict())))

    oe.watch = watched
    model = train(made, run.train, run, 16)
    assert len(seen) == 7  # at the start of six epochs, and at the end
    least = [gap for gap, _ in seen]
    assert least == sorted(least, reverse=True)
    best = seen[least.index(least[-1])][1]
    assert all(torch.equal(best[name], value) for name, value in model.state_dict().items())


def test_a_network_is_no_longer_kept_once_patience_is_over():
    run, oe = begun(rows_of(COUNTS)), method("oe-fsmc(patience=0.2)")
    run.recipe = recovering("kd+oe-fsmc")
    oe.enter(run.train, run)
    oe.prepare(run)
    first = oe.best
    run.progress.fill_(0.5)
    with torch.no_grad():
        run.model.load_state_dict(run.granted.teacher.state_dict())
    oe.least = torch.tensor(100.0)  # anything would be better
    oe.watch(run)
    assert oe.best is first


def test_class_aware_scores_are_means_over_classes_of_means_over_rows():
    run = begun(rows_of((3, 2, 1)))
    scores = class_aware(run, 0.0)
    assert list(scores) == list(Graph(copy.deepcopy(run.model), run).layers)
    teacher = copy.deepcopy(run.granted.teacher).requires_grad_(True)
    name = "trunk.3.conv1"
    total = torch.zeros(len(scores[name]))
    for x, y in zip(run.train.inputs, run.train.labels, strict=True):
        with watched(teacher, [name]) as seen:
            loss = torch.nn.functional.cross_entropy(teacher(x[None]), y[None])
        output = seen[name][1]
        (slope,) = torch.autograd.grad(loss, output)
        total += (output * slope).sum(dim=(0, 2, 3)).abs() / (3 * run.counts[y])
    torch.testing.assert_close(scores[name], total.detach(), rtol=1e-4, atol=1e-6)


def test_class_aware_scores_do_not_change_when_a_classs_rows_are_doubled():
    run = begun(rows_of((3, 2, 2)))
    once = class_aware(run, 0.0)
    twice = torch.cat([torch.arange(7), torch.tensor([3, 4])])  # class 1 comes twice
    run.train = run.train[twice]
    for name, scores in class_aware(run, 0.0).items():
        torch.testing.assert_close(scores, once[name], rtol=1e-4, atol=1e-7)


def test_other_images_enter_the_scores_with_their_share():
    run = begun(rows_of((3, 2, 1)))
    plain, more = class_aware(run, 0.0), class_aware(run, 2.0)
    assert all((more[name] > plain[name]).any() for name in plain)


@pytest.mark.parametrize(
    "text", ["oe-fsmc(lam=-1.0)", "oe-fsmc(rho=-0.1)", "oe-fsmc(decay=1.5)", "oe-fsmc(patience=-1)"]
)
def test_wrong_parameters_are_refused(text):
    with pytest.raises(LTBenchError, match="is refused"):
        recipe(text)


def test_bytes_pass_as_the_rows_do():
    rows = rows_of(COUNTS)
    pixels = (rows.inputs * 40 + 128).clamp(0, 255).to(torch.uint8)
    made = compressed(recipe("mir+oe-fsmc"), Rows(pixels, rows.labels))
    assert torch.isfinite(made.scores).all()
