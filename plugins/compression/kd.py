"""Knowledge distillation (Hinton et al., 2015) of a pruned network from the whole one."""

from typing import Literal

import torch.nn.functional as F

from ltbench import LogUniform, Positive, Share, Uniform, hookimpl
from ltbench_plugins.compression.filter_pruning import BP


class KD(BP):
    """Prunes as `l1` does and mimics the teacher's softened scores.

    The loss is `alpha` times the cross-entropy and 1 - alpha times T^2 KL, and the head stays the
    teacher's or, with `head` "learns", does not: both as in the code of CMa-FSMC by default. With
    `reweighted` a row's KL is weighed by 1 / n_c of the class that the teacher sees.
    """

    name = "kd"
    reference = "arXiv:1503.02531"
    space = {"alpha": Uniform(0.0, 0.9), "temperature": LogUniform(1.0, 20.0)}

    def __init__(
        self,
        alpha: Share = 0.1,
        temperature: Positive = 4.0,
        reweighted: bool = False,
        head: Literal["kept", "learns"] = "kept",
    ):
        super().__init__(head)
        self.alpha = alpha
        self.temperature = temperature
        self.reweighted = reweighted

    def criterion(self, scores, labels, run):
        return self.alpha * F.cross_entropy(scores, labels, reduction="none")

    def mimic(self, output, inputs, run):
        t = self.temperature
        taught = run.granted.taught(inputs).heads[0]
        both = run.recipe.combine(output, run), taught
        student, teacher = ((scores / t).log_softmax(dim=1) for scores in both)
        gap = F.kl_div(student, teacher, log_target=True, reduction="none").sum(dim=1)
        if self.reweighted:
            weight = (1 / run.counts)[taught.argmax(dim=1)]
            gap = gap * weight / weight.mean()
        return (1 - self.alpha) * t**2 * gap.mean()


@hookimpl
def register_methods(register):
    register(KD)
