"""SPDCL: a self-paced draw, from easy rows to balanced classes (Zhang et al., MSN 2022)."""

import torch

from ltbench import Method, Share, Uniform, hookimpl


class SPDCL(Method):
    """Draws the easiest rows of each class, more of them and more equal classes as it goes.

    The paper's is the idea: at each epoch the training rows are drawn anew by a difficulty that
    the network itself decides, together with a linguistic one, from easy to hard at a pace that
    adapts. The formulas are ours: difficulty is 1 - p_y, or the mean of that and of how hard a
    text reads, from 0 to 1, where the track grants it (`run.granted.difficulty`; the paper parses
    texts) and `linguistic` is true; the pace is the mean of p_y over classes, but at least `start`
    and at least the share of the training that has passed; the easiest rows of each class, as large
    a part of it as the pace, are drawn alike; a class is drawn with n_c^(1 - pace), so as often as
    it occurs at pace 0, as all others at 1.
    """

    name = "spdcl"
    reference = "arXiv:2210.14724"
    corrects = "prior"
    space = {"start": Uniform(0.1, 0.9)}

    def __init__(self, start: Share = 0.3, linguistic: bool = True):
        self.start = start
        self.linguistic = linguistic

    def sampling_weights(self, labels, run):
        n_c = labels.bincount(minlength=run.num_classes).to(run.counts)
        if run.model is None:  # a probe, which has no network to ask
            right = torch.zeros_like(n_c)[labels]
        else:
            right = run.scores(run.train.inputs).softmax(dim=1).gather(1, labels[:, None])[:, 0]
        mastery = (torch.zeros_like(n_c).index_add(0, labels, right) / n_c).nanmean()
        pace = torch.maximum(mastery, run.progress).clamp(min=self.start, max=1)
        drawn = (pace * n_c).ceil().clamp(min=1)  # rows of each class
        told = getattr(run.granted, "difficulty", None) if self.linguistic else None
        hard = -right if told is None else (told + 1 - right) / 2
        easy = ranks(hard, labels, n_c) < drawn[labels]
        return easy * (n_c ** (1 - pace) / drawn)[labels]


def ranks(values, labels, n_c):
    """The place of each row [N] among the rows of its class, the lowest value first, from 0."""
    order = values.argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]
    first = n_c.cumsum(0) - n_c
    places = torch.arange(len(labels), device=labels.device) - first[labels[order]]
    return torch.empty_like(places).index_copy(0, order, places)


@hookimpl
def register_methods(register):
    register(SPDCL)
