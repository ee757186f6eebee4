"""What methods borrow; that the formulas are those of papers is held by tests of the methods."""

import ast
import re

import pytest
import torch

from ltbench import LTBenchError, Rows, recipe
from ltbench.augmentation.views import Views
from ltbench.contract.context import Batch
from ltbench.models.mlp import Network, Options
from ltbench.testing import check_method
from ltbench.testing.probes import probe_run
from ltbench.toolbox import another_view, augments, contrast, follow, view_of, with_experts


@pytest.fixture
def run():
    run = probe_run(recipe("erm"), (3, 1), torch.float32)
    run.train = Rows(torch.randn(4, 1, 6, 6), torch.tensor([0, 0, 0, 1]))
    return run


def network():
    torch.manual_seed(0)
    return Network((1, 6, 6), 2, Options([5], batch_norm=True))


def test_views_are_noisy_where_nothing_is_augmented(run):
    x = run.train.inputs
    assert not augments(run)
    assert torch.equal(view_of(x, run, 0.0), x)
    gap = view_of(x, run, 0.5) - x
    assert float(gap.std()) == pytest.approx(0.5 * float(x.std(correction=0)), rel=0.2)
    rows = torch.tensor([3, 1])
    assert torch.equal(another_view(Batch(x[rows], [], rows), run), x[rows])
    assert run.notes == ["the protocol augments nothing, so all views of a row are the same"]
    run.views = Views(padding=1)
    assert augments(run)
    assert len({view_of(x[:1], run, 0.0).numpy().tobytes() for _ in range(20)}) > 1


def test_an_anchor_without_mates_adds_nothing_to_contrast():
    similarity = torch.tensor([[0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    others = ~torch.eye(2, dtype=torch.bool)
    assert contrast(similarity, torch.zeros_like(others), others) == 0
    assert contrast(similarity, others, others) == 0  # the mate is the only rival


def test_a_network_follows_another_by_parameters_and_takes_its_statistics():
    follower, leader = network(), network()
    with torch.no_grad():
        for parameter in leader.parameters():
            parameter.add_(1)
        for buffer in leader.buffers():
            buffer.add_(2)
    before = {name: one.clone() for name, one in follower.named_parameters()}
    follow(follower, leader, momentum=0.75)
    for name, parameter in follower.named_parameters():
        torch.testing.assert_close(parameter, before[name] + 0.25)
    for name, buffer in follower.named_buffers():
        assert torch.equal(buffer, leader.state_dict()[name])


def test_experts_stand_on_a_plain_network_alone(run):
    model = with_experts(network(), 3, 30.0, run)
    heads = model.head(model.features(run.train.inputs))
    assert [list(head.shape) for head in heads] == [[4, 2]] * 3
    with pytest.raises(LTBenchError, match="name them first"):
        with_experts(model, 2, 30.0, run)
    with pytest.raises(LTBenchError, match="Linear has no branches"):
        with_experts(torch.nn.Linear(2, 2), 2, 30.0, run)


def test_the_method_of_the_documents_passes_every_check(tmp_path, pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Averaged" in c)
    (tmp_path / "averaged.py").write_text(code)
    report = check_method(recipe("averaged", plugins=[tmp_path / "averaged.py"]))
    assert report.passed, str(report)


def test_no_plugin_takes_what_another_keeps_to_itself(pytestconfig):
    wrong = []
    for file in sorted((pytestconfig.rootpath / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ltbench"):
                wrong += [f"{file.name}: {one.name}" for one in node.names if one.name[0] == "_"]
    assert wrong == []
