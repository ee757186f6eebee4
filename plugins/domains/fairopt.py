"""Thresholds for each group of rows (after FairOPT: Jung et al., 2025)."""

import numpy as np
import torch

from ltbench import Method, Share, hookimpl
from ltbench.scoring.thresholds import best_offsets


class FairOPT(Method):
    """Trains plainly and gives each group of rows a threshold between two classes.

    A reconstruction of its aims; the paper moves thresholds by finite differences. On validation
    rows each group's threshold is where F1 of the rarer class is best; where accuracy is then below
    `floor`, the threshold of all rows together stays. Then all move towards that one, by tenths of
    the way, until balanced error rates of two groups differ by `delta` at most, and stop where
    they differ least if they never come so near. Defaults of `floor` and `delta` are those of the
    released code. Without validation rows the larger score decides.

    Groups of the rows to decide are told to it, as they are in the paper.
    """

    name = "fairopt"
    reference = "arXiv:2502.04528"
    needs = frozenset({"groups", "test_groups", "two_classes"})

    def __init__(self, floor: Share = 0.5, delta: Share = 0.2):
        self.floor = floor
        self.delta = delta

    def finish(self, model, validation, run):
        if validation is None:
            run.note("no validation rows, so the larger score decides in every group")
            return model
        scores = run.scores(validation.inputs).double().cpu().numpy()
        labels, groups = validation.labels.cpu().numpy(), validation.groups.cpu().numpy()
        domains = len(run.granted.cells)
        offsets = adaptive(scores, labels, groups, domains, run.positive, self.floor, self.delta)
        model.register_buffer("group_offsets", torch.from_numpy(offsets).to(run.device))
        told = ", ".join(f"{offset:.2f}" for offset in offsets[:, run.positive])
        run.note(f"offsets of the rarer class's score, by group: {told}")
        return model

    def decide(self, scores, run):
        offsets = getattr(run.model, "group_offsets", None)
        if offsets is None or run.groups is None:
            return scores.argmax(dim=-1)
        return (scores + offsets[run.groups].to(scores)).argmax(dim=-1)


def adaptive(scores, labels, groups, domains, positive, floor, delta):
    """Offsets [G, 2] of the scores of each group; one without rows has that of all."""
    pooled = best_offsets(scores, labels, "f1", positive)
    own = np.stack([pooled] * domains)
    for g in range(domains):
        rows = groups == g
        if len(np.unique(labels[rows])) == 2:
            offsets = best_offsets(scores[rows], labels[rows], "f1", positive)
            right = (scores[rows] + offsets).argmax(1) == labels[rows]
            own[g] = offsets if right.mean() >= floor else pooled
    ways = [pooled + way / 10 * (own - pooled) for way in range(10, -1, -1)]
    gaps = [error_gap(scores + offsets[groups], labels, groups) for offsets in ways]
    enough = [way for way, gap in zip(ways, gaps, strict=True) if gap <= delta]
    return enough[0] if enough else ways[int(np.argmin(gaps))]


def error_gap(scores, labels, groups):
    """How far the balanced error rates of two groups differ at most, of those with both classes."""
    wrong, rates = scores.argmax(axis=1) != labels, []
    for g in np.unique(groups):
        rows = groups == g
        classes = np.unique(labels[rows])
        if len(classes) == 2:
            rates.append(np.mean([wrong[rows & (labels == c)].mean() for c in classes]))
    return np.ptp(rates) if rates else 0.0


@hookimpl
def register_methods(register):
    register(FairOPT)
