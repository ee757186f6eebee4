"""Weight aligning between old and new classes (Zhao et al., CVPR 2020), as in PyCIL."""

import torch
import torch.nn.functional as F

from ltbench import CosineHead, Positive, head_weights, hookimpl
from ltbench.tracks.incremental.contract import PAST, ClassIncremental, old_classes, past_of
from ltbench_plugins.incremental.lwf import distillation, of_heads
from ltbench_plugins.stages.weight_aligning import aligning


class WA(ClassIncremental):
    """Distils, then shortens the weights of new classes to the mean length of the old ones'.

    The loss is 1 - a times cross-entropy and a times the distillation of old classes' softmax, for
    the share a of classes that are old. Once a task is over, the weights of its classes are
    multiplied by mean |w_old| / mean |w_new|; the bias stays, and the next task begins with the
    aligned weights and distils from them. The paper also keeps weights above 0 while training,
    which PyCIL leaves out, and so do we.
    """

    name = "wa"
    reference = "arXiv:1911.07053"
    needs = frozenset({PAST})

    def __init__(self, temperature: Positive = 2.0):
        self.temperature = temperature

    def criterion(self, scores, labels, run):
        share = old_classes(run) / run.num_classes
        return (1 - share) * F.cross_entropy(scores, labels, reduction="none")

    def extra(self, output, batch, run):
        past = past_of(run)
        if past is None:
            return None
        taught = of_heads(past.output(batch.inputs))
        share = past.old / run.num_classes
        return share * distillation(of_heads(output), taught, self.temperature)

    def finish(self, model, validation, run):
        old = old_classes(run)
        if not old:
            return model
        weight = head_weights(model)
        if isinstance(model.head, CosineHead):
            run.note("the lengths of weights do not count in a cosine head: nothing is aligned")
            return model
        new = torch.arange(len(weight), device=weight.device) >= old
        weight.copy_(torch.where(new[:, None], aligning(weight, new), 1) * weight)
        return model


@hookimpl
def register_methods(register):
    register(WA)
