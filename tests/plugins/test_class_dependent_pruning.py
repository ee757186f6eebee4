import pytest
import torch
from compressing import recovering

from ltbench import LTBenchError, recipe
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.training.engine import train


def test_rounds_take_half_of_the_epochs():
    run = begun(rows_of(COUNTS), epochs=20)
    phases = recipe("class-dependent-pruning").phases([run.phase], run)
    assert [(p.role, p.epochs) for p in phases] == [
        ("shrink 1", 3),
        ("shrink 2", 3),
        ("shrink 3", 3),
        ("main", 11),
    ]


def test_filters_go_a_little_at_a_time():
    run = begun(rows_of(COUNTS), keep=0.25, epochs=4)
    made = recovering("class-dependent-pruning(rounds=2)")
    widths = []
    enter = made.methods[0].enter

    def watched(rows, run):
        rows = enter(rows, run)
        widths.append(len(run.model.get_submodule("branch.1.conv1").weight))
        return rows

    made.methods[0].enter = watched
    train(made, run.train, run, 16)
    # of 16 filters half stay, then a quarter: 16 * 0.25 ** (1/2), 16 * 0.25
    assert widths == [8, 4, 4]


def test_classes_weigh_by_their_rows_to_a_power():
    run = begun(rows_of((8, 2)))
    method = recipe("class-dependent-pruning(power=0.5)").methods[0]
    run.seen = torch.tensor([0.8, 0.2], dtype=torch.float64)
    method.prepare(run)
    # roots of 1/0.8 and 1/0.2 are as 1 to 2, scaled to add up to two
    assert method.weight(torch.tensor([1, 0, 1]), run).tolist() == pytest.approx(
        [4 / 3, 2 / 3, 4 / 3]
    )


def test_it_ends_at_the_protocols_share():
    rows = rows_of(COUNTS)
    ours, plain = (compressed(recipe(text), rows) for text in ("class-dependent-pruning", "bp"))
    shapes = [
        {name: value.shape for name, value in made.model.state_dict().items()}
        for made in (ours, plain)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("rounds", [0, 7])
def test_too_many_rounds_are_refused(rounds):
    with pytest.raises(LTBenchError, match=f"rounds={rounds} is refused"):
        recipe(f"class-dependent-pruning(rounds={rounds})")
