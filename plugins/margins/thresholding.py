"""Thresholding: the softmax divided by the training prior (Buda et al., Neural Networks 2018)."""

import torch

from ltbench import Method, hookimpl


class Thresholding(Method):
    """Trains plainly, then divides the probability of class c by its share of the training rows.

    The result is normalised again and stays a log probability. After sampling, the share is the
    one that the draws had. Decisions are those of `posthoc-logit-adjustment` at tau 1.
    """

    name = "thresholding"
    reference = "arXiv:1710.05381"
    corrects = "prior"

    def scores(self, scores, run):
        log_probabilities = torch.log_softmax(scores, dim=1)
        return torch.log_softmax(log_probabilities - run.seen.log(), dim=1)


@hookimpl
def register_methods(register):
    register(Thresholding)
