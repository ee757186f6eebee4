import torch
import torch.nn.functional as F

from ltbench import Method, recipe
from ltbench.contract.context import Output
from ltbench.contract.method import HOOKS, hooks
from ltbench.testing.probes import probe_run

RUN = probe_run(recipe("erm"), (3, 2, 1), torch.float64)


def test_a_bare_method_is_plain_training():
    scores, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    method = Method()
    assert hooks(Method) == ()
    assert method.adjust(scores, labels, RUN) is scores
    assert method.weight(labels, RUN) is None
    expected = F.cross_entropy(scores, labels, reduction="none")
    assert torch.equal(method.criterion(scores, labels, RUN), expected)
    assert torch.equal(method.decide(scores, RUN), scores.argmax(dim=1))


def test_hooks_are_read_from_what_a_method_overrides():
    assert hooks(type(recipe("ldam").methods[0])) == ("build", "prepare", "adjust")
    assert hooks(type(recipe("sam").methods[0])) == ("step",)
    assert hooks(type(recipe("drw").methods[0])) == ("prepare", "weight")


def test_every_hook_is_a_method_of_the_contract():
    assert all(callable(getattr(Method, hook)) for hook in HOOKS)


def test_heads_are_averaged():
    heads = (torch.ones(2, 3), 3 * torch.ones(2, 3))
    combined = Method().combine(Output(heads, torch.zeros(2, 1)), RUN)
    assert torch.equal(combined, 2 * torch.ones(2, 3))


def test_the_default_optimizer_is_the_phases_sgd_over_what_learns():
    model = torch.nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    (group,) = Method().optimizer(model, RUN).param_groups
    assert group["params"] == [model.weight]
    assert (group["lr"], group["momentum"]) == (RUN.phase.lr, RUN.phase.momentum)
