"""HFC's losses against forgetting of unequal speed (Dong et al., ICCV 2023)."""

import torch
import torch.nn.functional as F

from ltbench import hookimpl
from ltbench.tracks.incremental.contract import PAST, ClassIncremental, past_of
from ltbench_plugins.incremental.lwf import of_heads


class HFC(ClassIncremental):
    """Binary losses of each class, weighted by how much a row's gradient stands out in its task.

    With z the share of classes that are old, p the softmax and y the label of a row,
    g = log(|p_y - 1|^z + 1), and r is g over its mean among the batch's rows of the same task, all
    new ones being one. Rows of new classes have w1 = (1 - z) clip(r, 0.5, 1.0) and w2 = 0.8 z,
    rows of old ones w1 = sqrt(1 - z) clip(r, 0.5, 1.2) and w2 = z clip(r, 0.5, 1.2). The loss is
    the mean of w1 BCE(s, y) and w2 BCE(s, y'), where y' has the earlier network's sigmoids for old
    classes, plus half the mean over the batch's classes of mean w2 times BCE(mean s, mean y').
    The first task has BCE alone. These are the losses of the code; its blocks of a vision
    transformer that was pretrained are left out. Values were made for 2000 remembered rows.

    Rows that are mixed with others are weighed by the first of their labels in all but w1 BCE.
    """

    name = "hfc"
    reference = "doi:10.1109/ICCV51070.2023.00544"
    needs = frozenset({PAST})

    def criterion(self, scores, labels, run):
        past, wanted = past_of(run), F.one_hot(labels, scores.shape[1]).to(scores)
        losses = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none").mean(dim=1)
        return losses if past is None else balanced(scores, labels, past)[0] * losses

    def extra(self, output, batch, run):
        past = past_of(run)
        if past is None:
            return None
        labels = batch.targets[0][0]
        scores = of_heads(output)[: len(labels)]
        taught = of_heads(past.output(batch.inputs[: len(labels)]))
        return imitation(scores, labels, taught, balanced(scores, labels, past)[1])


def balanced(scores, labels, past):
    """The weights w1 and w2 [N] of rows with scores [N, C]."""
    with torch.no_grad():
        z = past.old / scores.shape[1]
        sure = scores.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        g = ((sure - 1).abs() ** z + 1).log()
        task, tasks = past.task_of(labels), len(past.known) + 1
        sums, rows = g.new_zeros(tasks).index_add(0, task, g), task.bincount(minlength=tasks)
        ratio = g / (sums / rows.clamp(min=1))[task]
        new = labels >= past.old
        old = ratio.clamp(0.5, 1.2)
        first = torch.where(new, (1 - z) * ratio.clamp(0.5, 1.0), (1 - z) ** 0.5 * old)
        return first, torch.where(new, torch.full_like(old, 0.8 * z), z * old)


def imitation(scores, labels, taught, weight):
    """The mean of w2 BCE(s, y') over rows, and half that of what classes in the batch have."""
    classes = scores.shape[1]
    wanted = F.one_hot(labels, classes).to(scores)
    wanted = torch.cat([taught.sigmoid(), wanted[:, taught.shape[1] :]], dim=1)
    bce = F.binary_cross_entropy_with_logits
    rows = (weight * bce(scores, wanted, reduction="none").mean(dim=1)).mean()
    member = F.one_hot(labels, classes).to(scores)
    number = member.sum(0)
    there = number > 0
    share = (member / number.clamp(min=1)).T[there]  # [classes in the batch, N]
    means = bce(share @ scores, share @ wanted, reduction="none").mean(dim=1)
    return rows + 0.5 * ((share @ weight) * means).mean()


@hookimpl
def register_methods(register):
    register(HFC)
