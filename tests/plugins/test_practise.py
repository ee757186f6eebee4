import pytest
import torch
from compressing import recovering, taught_by
from torch import nn

from ltbench import recipe
from ltbench.errors import Unmet
from ltbench.models import build
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.tracks.compression.pruning import portions, size
from ltbench_plugins.compression.practise import Adaptor, droppable, gap


def run_of(depth, keep=0.5):
    options = {"depth": depth, "width": 4}
    networks = (build("resnet", (1, 8, 8), 4, options) for _ in range(2))
    run = taught_by(begun(rows_of(COUNTS), keep), *networks)
    run.recipe = recovering("practise(steps=3)")
    return run


def test_blocks_that_keep_their_inputs_shape_may_go():
    run = run_of(14)
    # two blocks in each of three stages, and the first of the later stages change the shape
    assert droppable(run.model, run) == {"trunk.3": 4, "trunk.4": 4, "branch.1": 8, "branch.3": 16}


def test_an_adaptor_starts_as_the_identity():
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(Adaptor(4)(x), x)


def test_the_gap_is_weighed_and_in_units_of_the_features():
    class Doubling(nn.Module):
        def features(self, x):
            return 2 * x

    x = torch.tensor([[1.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    # squared gaps 1 and 2 with weights 3 and 1, over the mean square 1.5
    found = gap(Doubling(), x, x, torch.tensor([3.0, 1.0]))
    assert found.item() == pytest.approx((3 * 1 + 1 * 2) / 4 / 1.5)


def test_the_block_that_does_nothing_goes_first():
    run = run_of(14, keep=0.75)
    for network in (run.model, run.granted.teacher):
        nn.init.zeros_(network.get_submodule("branch.1.bn2").weight)
    run.recipe.build(run.model, run)
    assert isinstance(run.model.get_submodule("branch.1"), nn.Identity)
    assert size(run.model) < size(run.granted.teacher)
    gone = [m for m in run.model.modules() if isinstance(m, nn.Identity)]
    assert len(gone) == 1  # a quarter of four
    inputs = run.train.inputs
    torch.testing.assert_close(run.model(inputs), run.granted.teacher(inputs))


def test_adaptors_lower_the_error_and_other_images_join_them():
    run = run_of(14)
    rows = list(portions(run))
    scores = []
    for text in ("practise(steps=1)", "practise(steps=30)"):
        run.recipe = recovering(text)
        scores.append(run.recipe.methods[0].score(run.model, "trunk.3", 4, run))
    assert scores[1] < scores[0]
    run.recipe = recovering("practise(steps=30)+oe-fsmc")
    assert run.recipe.methods[0].score(run.model, "trunk.3", 4, run) != scores[1]
    assert len(rows[0][0]) == sum(COUNTS)


def test_a_network_without_such_blocks_is_skipped_by_name():
    networks = (build("convnet", (1, 8, 8), 4, {"widths": [4, 4]}) for _ in range(2))
    run = taught_by(begun(rows_of(COUNTS)), *networks)
    run.recipe = recovering("practise")
    with pytest.raises(Unmet, match="practise drops blocks that keep the shape .* a resnet has"):
        run.recipe.build(run.model, run)


def test_it_recovers_as_mir_does():
    made = compressed(recipe("practise(steps=2)"), rows_of(COUNTS))
    assert torch.equal(made.model.head.weight, made.run.granted.teacher.head.weight)
