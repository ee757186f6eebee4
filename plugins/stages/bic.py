"""Bias correction: the scores of rare classes, scaled and shifted (after Wu et al., CVPR 2019)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta

from ltbench import LogUniform, Method, NonNegative, hookimpl
from ltbench_plugins.stages.weight_aligning import few_shot


class BiC(Method):
    """Turns the scores z of few-shot classes into alpha * z + beta; others stay as they are.

    Both numbers are fitted to validation rows by cross-entropy plus `decay` * beta^2 / 2, from
    alpha 1 and beta 0, with the network frozen; each class counts the same, in place of the
    paper's balanced rows. Without validation rows of few-shot classes nothing is corrected.

    The paper corrects new classes in class-incremental learning; putting few-shot classes in
    their place is our adaptation. Few-shot are the classes below `border` rows; where it is not
    given, those in the lowest third, in logarithms, of the way from the smallest to the largest.
    """

    name = "bic"
    reference = "arXiv:1905.13260"
    corrects = "prior"
    space = {"decay": LogUniform(0.001, 10.0)}

    def __init__(self, decay: NonNegative = 0.1, border: Annotated[int, Meta(ge=1)] | None = None):
        self.decay = decay
        self.border = border

    def finish(self, model, validation, run):
        few = few_shot(run.counts, self.border)
        if validation is None or not few[validation.labels].any():
            run.note("no validation rows of few-shot classes, so their scores stay as they are")
            return model
        scores = run.scores(validation.inputs)
        alpha, beta = fitted(scores, validation.labels, few, self.decay)
        run.note(f"scores z of few-shot classes become {alpha:.3g} * z + {beta:.3g}")
        model.register_buffer("bic_scale", torch.where(few, alpha, 1).to(scores))
        model.register_buffer("bic_shift", torch.where(few, beta, 0).to(scores))
        return model

    def scores(self, scores, run):
        if not hasattr(run.model, "bic_scale"):
            return scores
        return scores * run.model.bic_scale + run.model.bic_shift


def fitted(scores, labels, few, decay, steps=100):
    """Alpha and beta of least loss; `steps` bound alpha where the rows can be told apart."""
    scores = scores.detach().double()
    rows = 1 / labels.bincount()[labels].double()
    rows = rows / rows.sum()
    both = scores.new_tensor([1.0, 0.0]).requires_grad_()
    search = torch.optim.LBFGS(
        [both],
        max_iter=steps,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss():
        search.zero_grad()
        alpha, beta = both
        corrected = torch.where(few, alpha * scores + beta, scores)
        losses = F.cross_entropy(corrected, labels, reduction="none")
        total = (rows * losses).sum() + decay * beta**2 / 2
        total.backward()
        return total

    with torch.enable_grad():
        search.step(loss)
    return both.detach()


@hookimpl
def register_methods(register):
    register(BiC)
