"""A threshold for each group of classes (after Jung et al., 2025, on groups of rows).

The paper fits thresholds of a binary detector to groups of texts; for many classes, groups of
classes and offsets of their scores take that place, which is our adaptation. For groups of rows
there is `fairopt`.
"""

import torch

from ltbench import Method, hookimpl

STEPS = [step / 4 for step in range(33)]  # 0 to 8, in units of a score


class GroupThresholds(Method):
    """Adds one number to the scores of medium classes after training, and another to few-shot ones.

    The pair is the best of a grid, 0 to 8 in steps of 1/4, on validation rows by balanced
    accuracy, and of equal pairs the nearest to the default. That is how much less, in logarithms,
    a class of the group has of the rows on average than one with many; it stays where the
    protocol has no validation rows. `borders` (20, 100) calls classes of less than 20 rows few
    and of more than 100 many. Without borders the groups are the thirds, in logarithms, of the
    way from the smallest class to the largest.
    """

    name = "group-thresholds"
    reference = "arXiv:2502.04528"
    corrects = "prior"

    def __init__(self, borders: tuple[int, int] | None = None):
        self.borders = borders

    def finish(self, model, validation, run):
        groups, default = shot_groups(run.counts, self.borders), self.default(run)
        if validation is None:
            offsets = default
            run.note("no validation rows, so groups of classes are set apart by their mean share")
        else:
            scores = run.scores(validation.inputs)
            offsets = best_offsets(scores, validation.labels, groups, default)
        few, medium, _ = offsets.tolist()
        run.note(f"offsets of the scores: few {few:.2f}, medium {medium:.2f}")
        model.register_buffer("group_offsets", offsets[groups])  # goes where the network goes
        return model

    def scores(self, scores, run):
        offsets = getattr(run.model, "group_offsets", None)
        if offsets is None:
            offsets = self.default(run)[shot_groups(run.counts, self.borders)]
        return scores + offsets

    def default(self, run):
        """The offsets [3] by the mean share of a class in each group; 0 for an empty group."""
        groups = shot_groups(run.counts, self.borders)
        classes = groups.bincount(minlength=3)
        shares = run.seen.new_zeros(3).index_add(0, groups, run.seen) / classes.clamp(min=1)
        return torch.where(classes > 0, (shares[groups.max()] / shares).log(), 0)


def shot_groups(counts, borders=None):
    """The group of each class [C]: 0 few, 1 medium, 2 many."""
    if borders is not None:
        few, many = borders
        return (counts >= few).long() + (counts > many).long()
    rise = counts / counts.min()
    return (rise**3 >= rise.max()).long() + (rise**3 >= rise.max() ** 2).long()


def best_offsets(scores, labels, groups, default):
    rows = 1 / labels.bincount()[labels]  # so that each class counts the same
    tops = torch.stack(
        [scores.masked_fill(groups != group, -torch.inf).amax(dim=1) for group in range(3)], dim=1
    )  # [N, 3]: an offset moves a group against the others, not the classes within it
    own = groups[labels]
    leads = scores.gather(1, labels[:, None])[:, 0] == tops.gather(1, own[:, None])[:, 0]

    def value(offsets):
        right = leads & ((tops + offsets).argmax(dim=1) == own)
        return round(float((rows * right).sum()), 4), -float((offsets - default).abs().sum())

    used = [STEPS if (groups == group).any() else [0.0] for group in (0, 1)]
    grid = [scores.new_tensor([few, medium, 0.0]) for few in used[0] for medium in used[1]]
    return max([default, *grid], key=value)


@hookimpl
def register_methods(register):
    register(GroupThresholds)
