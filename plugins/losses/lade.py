"""LADE: scores freed of the training labels' distribution (Hong et al., CVPR 2021)."""

import math

import torch
import torch.nn.functional as F

from ltbench import LogUniform, Method, NonNegative, hookimpl

FLOOR = 1e-9  # under the prior in each logarithm, as in the paper's code


class LADE(Method):
    """Cross-entropy on z + log(prior), and `strength` times a bound that ties z to a uniform prior.

    For class c the bound is e_c = f_c - s_c - remine * s_c^2, where f_c is the mean of z_c over
    the rows of c, and s_c the log of the mean, over all rows, of exp(z_c) times 1 / (C prior_c);
    the term is minus the mean of e_c under the prior. A class absent from the batch has f_c = 0
    but keeps its s_c. Both constants are those of the code, where batches have 256 rows.
    """

    name = "lade"
    reference = "arXiv:2012.00321"
    corrects = "prior"
    space = {"strength": LogUniform(0.01, 1.0)}

    def __init__(self, strength: NonNegative = 0.1, remine: NonNegative = 0.1):
        self.strength = strength
        self.remine = remine

    def prepare(self, run):
        self.log_prior = (run.seen + FLOOR).log()

    def adjust(self, scores, labels, run):
        return scores + self.log_prior

    def extra(self, output, batch, run):
        n = len(batch.rows)
        of_class = sum(
            F.one_hot(labels, run.num_classes).to(run.seen)
            * (share.reshape(-1, 1) if isinstance(share, torch.Tensor) else share)
            for labels, share in batch.targets
        )  # [N, C]; a blended row counts by its shares
        return self.strength * sum(self.term(scores[:n], of_class, run) for scores in output.heads)

    def term(self, scores, of_class, run):
        mean = (scores * of_class).sum(dim=0) / (of_class.sum(dim=0) + 1e-8)
        uniform = scores - self.log_prior - math.log(run.num_classes)
        spread = uniform.logsumexp(dim=0) - math.log(len(scores))
        return -(run.seen * (mean - spread - self.remine * spread**2)).sum()


@hookimpl
def register_methods(register):
    register(LADE)
