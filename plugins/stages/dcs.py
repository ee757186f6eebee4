"""Rules that correct class probabilities, found by simulated annealing on rows held out.

DNIP, a weight for each class: Lin & You, arXiv:2405.07623. DCS, weights and membership functions:
Lin, Wang & You, COLM 2025.
"""

import math
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from torch import nn

from ltbench import Choice, Method, NonNegative, hookimpl

# Rules are numbered as in the released code: 17 triangles, then p, 1 - p, and weights from 19 on.
TRIANGLES = [(k / parts, 1 / parts) for parts in (2, 4, 8) for k in range(parts + 1)]
SAME, REVERSED, FIRST_WEIGHT = 17, 18, 19
SMOOTHING = 4000
ROUNDS, PROPOSALS, ACCEPTED, COOLING = 400, 6, 3, 0.95
HOT = 20.0  # for each row; the source's 200,000 at its ten thousand rows
COLD = 0.01  # of one error; the source's 200 would leave a walk at random on some hundred rows


class DNIP(Method):
    """Trains plainly, then gives each class one of `levels` weights, from 1/levels to 1.

    Probabilities are multiplied by the weights and the largest decides. Weights are searched from
    1 for all on labelled rows that the model was not fitted to: in a table each training row as
    scored by a model without it, elsewhere the protocol's validation rows. Without those the scores
    stay as they are. The search minimises

        alpha * errors + beta * N * COBias + tau * N * Z

    over N rows, where COBias is the mean gap of two classes' accuracies and Z the negative
    pointwise mutual information of a class and its prediction, smoothed and summed over classes. A
    model that is always wrong has no gaps, so that this can be less at accuracy 0 than at the
    start, once beta times COBias and the error rate there sum to more than 1. So nothing is
    accepted whose balanced accuracy on these rows is below the start's, which the source does not
    ask, and of what was accepted the least that does not widen COBias is taken, not the last.

    `beta` is the least of the source's grid, which it chooses from by held-out accuracy. Other
    departures: temperatures follow the number of rows and end at a hundredth of an error, as the
    source's would make a walk at random of few rows; the present rule is never proposed; a class
    without held-out rows keeps its probabilities and is in no gap.
    """

    name = "dnip"
    reference = "arXiv:2405.07623"
    corrects = "prior"
    models = frozenset({"network", "estimator"})
    space = {
        "alpha": Choice(0.0, 0.5, 1.0, 2.0),
        "beta": Choice(0.5, 1.0, 2.7, 3.0, 10.0),
        "tau": Choice(0.0, 0.2, 1.0, 5.0),
        "levels": Choice(30, 50, 70, 90),
    }
    first = FIRST_WEIGHT

    def __init__(
        self,
        alpha: NonNegative = 1.0,
        beta: NonNegative = 0.5,
        tau: NonNegative = 0.2,
        levels: Annotated[int, Meta(ge=2)] = 30,
    ):
        self.alpha = alpha
        self.beta = beta
        self.tau = tau
        self.levels = levels

    def finish(self, model, validation, run):
        if run.granted.cross_fitted is not None:
            scores, labels = run.granted.cross_fitted()
        elif validation is not None:
            scores, labels = run.scores(validation.inputs), validation.labels
        else:
            run.note("no labelled rows held out, so probabilities stay as they are")
            return model
        shape = ROUNDS, PROPOSALS, 3
        draws = torch.rand(shape, generator=run.rng, device=run.device, dtype=torch.float64)
        given = scores.double().softmax(dim=1).cpu(), labels.cpu()
        rules = annealed(*given, self.objective, self.first, self.levels, draws.tolist())
        run.note(f"{int((rules < FIRST_WEIGHT + self.levels - 1).sum())} classes are corrected")
        if isinstance(model, nn.Module):
            model.register_buffer("class_rules", rules.to(run.device))
        else:
            model.class_rules = rules
        return model

    def scores(self, scores, run):
        rules = getattr(run.model, "class_rules", None)
        if rules is None:
            return scores
        p = scores.double().softmax(dim=1)
        values = or_plain(corrected(p, rules, self.levels), p)
        return values.clamp(min=torch.finfo(values.dtype).tiny).log().to(scores.dtype)

    def objective(self, hits, predicted, rows):
        return objective(hits, predicted, rows, self.alpha, self.beta, self.tau)


class DCS(DNIP):
    """DNIP with 19 further rules to choose from for a class, which need not rise with p.

    17 are triangles, 1 at some probability and 0 away from it, one is 1 - p and one p itself. Where
    all classes of a row come to 0 its plain probabilities decide. A triangle can send a class to 0
    that was sure, so on few rows these rules fit more than there is to learn; without the condition
    on balanced accuracy it is they that reach the always wrong model.
    """

    name = "dcs"
    reference = "arXiv:2503.05157"
    first = 0


def corrected(p, rules, levels):
    """What rules [C] make of probabilities [N, C]; one rule, of those [N] of one class."""
    triangles = p.new_tensor(TRIANGLES)[rules.clamp(max=len(TRIANGLES) - 1)]
    centre, width = triangles.unbind(dim=-1)
    membership = (1 - (p - centre).abs() / width).clamp(min=0)
    weighed = p * (rules - FIRST_WEIGHT + 1) / levels
    ways = torch.where(rules < SAME, membership, torch.where(rules == SAME, p, 1 - p))
    return torch.where(rules >= FIRST_WEIGHT, weighed, ways)


def or_plain(values, p):
    """The corrected values, and in rows where all are 0 the probabilities themselves."""
    return torch.where((values > 0).any(dim=1, keepdim=True), values, p)


def cobias(hits, rows):
    """The mean gap of the accuracies of two classes, over all pairs of classes with rows."""
    accuracy = hits[rows > 0] / rows[rows > 0]
    pairs = len(accuracy) * (len(accuracy) - 1)
    return float(np.abs(accuracy[:, None] - accuracy).sum()) / max(pairs, 1)


def objective(hits, predicted, rows, alpha, beta, tau, k=SMOOTHING):
    """What is minimised, of right rows, predicted rows and rows of each class [C]."""
    n, classes = int(rows.sum()), len(rows)
    joint = (hits + k) / (n + k * classes**2)
    apart = (predicted + k) * (rows + k) / (n + k * classes) ** 2
    information = float(np.log(joint / apart).sum())
    errors = n - int(hits.sum())
    return alpha * errors + beta * n * cobias(hits, rows) - tau * n * information


def annealed(p, labels, objective, first, levels, draws):
    """The rules [C] from `first` on that simulated annealing finds for rows [N, C] of labels [N].

    `draws` hold three numbers in 0 to 1 for each proposal of each round: class, rule, acceptance.
    """
    classes, last = p.shape[1], FIRST_WEIGHT + levels - 1
    plain, truth = p.numpy(), labels.numpy()
    rows = np.bincount(truth, minlength=classes)
    order = [c for c in rows.argsort(kind="stable") if rows[c]]  # so no class's number counts

    def told(values):
        decided = values.argmax(axis=1)
        none = values[np.arange(len(truth)), decided] <= 0
        decided[none] = plain[none].argmax(axis=1)
        hits = np.bincount(truth[decided == truth], minlength=classes)
        predicted = np.bincount(decided, minlength=classes)
        mean = (hits[order] / rows[order]).mean()
        return objective(hits, predicted, rows), mean, cobias(hits, rows)

    rules = torch.full((classes,), last)
    values = plain.copy()
    z, floor, widest = told(values)
    best, least = rules, z
    temperature = HOT * len(labels)
    for proposals in draws:
        accepted = 0
        for of_class, of_rule, chance in proposals:
            c = order[int(of_class * len(order))]
            rule = first + int(of_rule * (last - first))
            rule += int(rule >= rules[c])  # another than the present one
            before = values[:, c].copy()
            values[:, c] = corrected(p[:, c], torch.tensor(rule), levels)
            other, mean, gap = told(values)
            if mean < floor - 1e-12 or chance >= math.exp(min(0.0, (z - other) / temperature)):
                values[:, c] = before
                continue
            rules, z = rules.clone(), other
            rules[c] = rule
            if z < least and gap <= widest + 1e-12:
                best, least = rules, z
            accepted += 1
            if accepted == ACCEPTED:
                break
        temperature *= COOLING
        if temperature < COLD:
            break
    return best


@hookimpl
def register_methods(register):
    register(DNIP)
    register(DCS)
