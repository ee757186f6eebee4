"""MTARD: one network of two teachers, a natural and a robust one (Zhao et al., ECCV 2022)."""

from bisect import bisect
from dataclasses import replace

import torch

from ltbench import LogUniform, Method, Share, hookimpl
from ltbench.tracks.robust.contract import ATTACK, TEACHERS, attacks
from ltbench_plugins.robust.pgd_at import attacked

NEAR_ZERO = 1e-5
ROUNDED = 1e-6  # by which progress may lie below a milestone that is reached


class MTARD(Method):
    """Learns nothing but what teachers say: the robust one of x', the natural one of x.

    The loss is w d(x') + (1 - w) d(x), d the mean over rows of the sum over classes of
    p_T (log(p_T + 1e-5) - log p); the attack that makes x' is on cross-entropy. The code has the
    mean over classes, with which short budgets hardly learn. With l the d of a batch over that of
    the first one, w starts at 1/2 and moves by `rate` times l(x') / (l(x) + l(x')) - w at each
    step; the rate falls with the milestones of the learning rate. Teachers are of the student's
    kind and budget, from the cell's own rows, and counted as its cost; they have `balanced` softmax
    unless that is off, as in the paper, which has no tail. The balance of entropies, of the later
    arXiv:2306.16170, is left out, as it is of the code. x' and x pass through the network together,
    so BatchNorm sees them as one batch.
    """

    name = "mtard"
    reference = "doi:10.1007/978-3-031-19772-7_34"
    needs = frozenset({ATTACK, TEACHERS})
    space = {"rate": LogUniform(0.005, 0.2)}

    def __init__(self, rate: Share = 0.025, balanced: bool = True):
        self.rate, self.balanced, self.fresh = rate, balanced, False

    def build(self, model, run):
        run.granted.teachers(run, self.balanced)
        model.register_buffer("mtard_weight", torch.full_like(run.progress, 0.5))
        model.register_buffer("mtard_first", torch.zeros(2, device=run.device))
        return model

    def batch(self, batch, run):
        if not attacks(run):
            return batch
        self.fresh = True
        return replace(batch, inputs=torch.cat([attacked(batch, run), batch.inputs]))

    def criterion(self, scores, labels, run):
        losses = super().criterion(scores, labels, run)
        return 0 * losses if attacks(run) else losses

    def extra(self, output, batch, run):
        if not attacks(run):
            return None
        n, scores = len(batch.rows), torch.stack(output.heads).mean(dim=0)
        natural, robust = run.granted.teachers(run, self.balanced)
        moved, plain = batch.inputs[:n], batch.inputs[n : 2 * n]
        taught = (run.granted.scores(x, run, m) for x, m in ((moved, robust), (plain, natural)))
        said = scores[:n], scores[n : 2 * n]
        apart = torch.stack([distance(t, s) for t, s in zip(taught, said, strict=True)])
        w, first = run.model.mtard_weight, run.model.mtard_first
        if self.fresh:  # in the first pass over a batch
            now = apart.detach()
            first.copy_(first.where(first > 0, now))
            passed = bisect(run.phase.milestones, float(run.progress) + ROUNDED)
            rate = self.rate * (1.0, *run.phase.factors)[passed]
            w.copy_(moved_weight(w, now / first, rate))
            self.fresh = False
        return (torch.stack([w, 1 - w]) * apart).sum()


def distance(taught, said):
    """How far scores are from a teacher's, both [N, C], the mean over rows."""
    p = taught.softmax(dim=1)
    return (p * ((p + NEAR_ZERO).log() - said.log_softmax(dim=1))).sum(dim=1).mean()


def moved_weight(w, relative, rate):
    """The weight of x' after a step, from the relative losses [2] of x' and x."""
    return w - rate * (w - relative[0] / relative.sum())


@hookimpl
def register_methods(register):
    register(MTARD)
