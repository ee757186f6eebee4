"""Per-class normalised gradients: every class pulls equally hard (Francazi et al., ICML 2023)."""

import torch

from ltbench import LogUniform, Method, Positive, hookimpl


class PCNGD(Method):
    """Steps along the sum over classes of g_c / (|g_c| + 1e-6), g_c the gradient of c's rows.

    The norm is over all parameters; a class without rows in the batch adds nothing. However small
    the loss, a step is as long as C learning rates if the classes agree, so the protocol's rate,
    which is meant for plain gradients, means something else here; `scale` multiplies the sum, 1
    in the paper. Weights of classes cancel. Classes that most batches lack pull less often:
    `oversampling+pcngd` is about the paper's variant PCNSGD+O, whose batches have as many rows of
    each class.

    It costs a pass for each class in the batch. Each pass takes the whole batch through BatchNorm,
    which the authors leave out of their networks.
    """

    name = "pcngd"
    reference = "arXiv:2207.00391"
    corrects = "prior"
    # the step is as long as the rate, which must be found anew
    space = {"scale": LogUniform(0.03, 30.0)}

    def __init__(self, scale: Positive = 1.0):
        self.scale = scale

    @torch.no_grad()
    def step(self, closure, optimizer, run):
        total = None
        every = torch.eye(run.num_classes, dtype=run.counts.dtype, device=run.device)
        for one in every[closure.present]:
            closure(one)
            parameters = [
                p for g in optimizer.param_groups for p in g["params"] if p.grad is not None
            ]
            gradients = [p.grad for p in parameters]
            norm = torch.stack(torch._foreach_norm(gradients)).norm()
            torch._foreach_mul_(gradients, self.scale / (norm + 1e-6))
            if total is None:
                total = gradients
            else:
                torch._foreach_add_(total, gradients)
        for p, gradient in zip(parameters, total, strict=True):
            p.grad = gradient
        optimizer.step()


@hookimpl
def register_methods(register):
    register(PCNGD)
