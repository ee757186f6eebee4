"""Learning without forgetting (Li and Hoiem, ECCV 2016), as in PyCIL."""

import torch.nn.functional as F

from ltbench import LogUniform, Method, NonNegative, Positive, hookimpl
from ltbench.tracks.incremental.contract import past_of
from ltbench_plugins.incremental.finetune import ExemplarFree, of_task


class LwF(ExemplarFree):
    """Cross-entropy over the new classes, plus `strength` times distillation of the old ones.

    Values and loss are PyCIL's, which trains 250 epochs a task; nothing is remembered.
    """

    name = "lwf"
    reference = "arXiv:1606.09282"
    space = {"strength": LogUniform(0.3, 30.0)}

    def __init__(self, strength: NonNegative = 3.0, temperature: Positive = 2.0):
        self.strength = strength
        self.temperature = temperature

    def adjust(self, scores, labels, run):
        return of_task(scores, run)

    def extra(self, output, batch, run):
        past = past_of(run)
        if past is None:
            return None
        taught = of_heads(past.output(batch.inputs))
        return self.strength * distillation(of_heads(output), taught, self.temperature)


def of_heads(output):
    """The scores [N, C] of a network, the mean over its heads."""
    return PLAIN.combine(output, None)


def distillation(scores, taught, temperature):
    """Minus the mean over rows of sum_c q_c log p_c, for softmaxes p of scores [N, C] and q of
    those `taught` [N, old], over the old classes, at a temperature.

    It is not multiplied by the temperature's square, as it is elsewhere.
    """
    old = taught.shape[1]
    logs = (scores[:, :old] / temperature).log_softmax(dim=1)
    return F.cross_entropy(logs, (taught / temperature).softmax(dim=1))


PLAIN = Method()


@hookimpl
def register_methods(register):
    register(LwF)
