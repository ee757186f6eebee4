"""Methods written out as a script of somebody's own would be: no hooks, phases, recipes or plugins.

The training of `ltbench` and what stands here end in the same bits.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ltbench import CosineHead
from ltbench.contract.optimizers import SGD
from ltbench.tracks import classification
from ltbench.training.engine import draw, generator, portions, schedule, seeded

METHODS = [
    "erm",
    "logit-adjustment",
    "focal",
    "class-balanced",
    "oversampling",
    "mixup",
    "ldam+drw",
    "lade",
    "crt",
    "sam",
]


@dataclass
class Script:
    """What a script holds in its variables."""

    model: torch.nn.Module
    rows: object
    run: object
    batch_size: int
    order: torch.Generator
    views: torch.Generator

    def stage(self, loss, phase, parameters, draws=None, mixed=False, sam=False):
        """One loop over epochs and steps; `loss` takes scores, labels and the progress."""
        model, rows, run = self.model, self.rows, self.run
        optimizer = SGD(
            parameters,
            lr=phase.lr,
            momentum=phase.momentum,
            nesterov=phase.nesterov,
            weight_decay=phase.weight_decay,
        )
        sizes = portions(len(rows), self.batch_size)
        rates = schedule(phase, len(sizes))
        now = 0

        def backward(inputs, labels):
            optimizer.zero_grad()
            found = loss(model.head(run.through(model, inputs)), labels, now / len(rates))
            found.backward()
            return found.detach()

        for _ in range(phase.epochs):
            losses = torch.zeros(len(sizes))
            drawn = draw(len(rows), len(rows), draws, self.order)
            for k, index in enumerate(drawn.split(sizes)):
                optimizer.param_groups[0]["lr"] = phase.lr * rates[now]
                inputs = run.views.augmented(rows.inputs[index], self.views)
                labels = rows.labels[index]
                if mixed:
                    inputs, labels = blended(inputs, labels, run.rng)
                losses[k] = backward(inputs, labels)
                if sam:
                    climb(model, parameters, lambda x=inputs, y=labels: backward(x, y))
                optimizer.step()
                now += 1
            assert torch.isfinite(losses).all()


def plain(scores, labels, progress):
    return F.cross_entropy(scores, labels, reduction="none").mean()


def adjusted(prior):
    return lambda scores, labels, progress: plain(scores + prior, labels, progress)


def focal(scores, labels, progress):
    losses = F.cross_entropy(scores, labels, reduction="none")
    miss = (-torch.expm1(-losses)).clamp(min=torch.finfo(losses.dtype).tiny)
    return (miss**2.0 * losses).mean()


def weighted(weights):
    def loss(scores, labels, progress):
        weight = weights[labels]
        return (weight * F.cross_entropy(scores, labels, reduction="none")).sum() / weight.sum()

    return loss


def effective(counts, beta=0.9999):
    n_c = counts / counts.sum() * counts.sum()
    weights = 1 / (-torch.expm1(n_c * math.log(beta)) / (1 - beta))
    return weights * (len(weights) / weights.sum())


def margins(counts, weights, scale=30.0):
    away = counts**-0.25
    away = 0.5 * away / away.max()
    even = torch.ones_like(weights)

    def loss(scores, labels, progress):
        true = labels[:, None]
        scores = scores.scatter_add(1, true, -scale * away[true])
        return weighted(even if progress < 0.8 else weights)(scores, labels, progress)

    return loss


def bounded(counts):
    seen = counts / counts.sum()
    prior = (seen + 1e-9).log()

    def loss(scores, labels, progress):
        found = plain(scores + prior, labels, progress)
        of_class = F.one_hot(labels, len(counts)).to(counts)
        mean = (scores * of_class).sum(dim=0) / (of_class.sum(dim=0) + 1e-8)
        even = scores - prior - math.log(len(counts))
        spread = even.logsumexp(dim=0) - math.log(len(scores))
        bound = -(seen * (mean - spread - 0.1 * spread**2)).sum()
        return found + 0.1 * bound

    return loss


def blended(inputs, labels, rng):
    share = torch._sample_dirichlet(torch.ones(2), generator=rng)[0]
    order = torch.randperm(len(labels), generator=rng)
    return torch.lerp(inputs[order], inputs, share), (labels, labels[order], share)


def two_labels(scores, labels, progress):
    first, second, share = labels
    losses = F.cross_entropy(scores, first, reduction="none")
    others = F.cross_entropy(scores, second, reduction="none")
    return (share * losses).mean() + ((1 - share) * others).mean()


def climb(model, parameters, backward, rho=0.05):
    """Gradients taken where sharpness-aware minimisation takes them, the parameters as before."""
    gradients = [p.grad for p in parameters]
    norms = [module for module in model.modules() if hasattr(module, "track_running_stats")]
    with torch.no_grad():
        before = [p.clone() for p in parameters]
        length = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_add_(parameters, torch._foreach_mul(gradients, rho / (length + 1e-12)))
    for norm in norms:
        norm.track_running_stats = False
    backward()
    for norm in norms:
        norm.track_running_stats = True
    with torch.no_grad():
        torch._foreach_copy_(parameters, before)


def trained(task, text):
    """The network that the training of a recipe ends with."""
    given, parts = task
    run = classification.begin(given, parts, 0, torch.device("cpu"))
    model, rows, counts = run.model, parts.train, run.counts
    batch_size = given.budget.batch_size
    script = Script(model, rows, run, batch_size, generator(run, "order"), generator(run, "views"))
    evenly = (1 / rows.labels.bincount())[rows.labels]
    if text == "ldam+drw":
        with seeded(run, "build"):
            model.head = CosineHead(model.head.in_features, len(counts), 30.0)
    model.train()
    parameters = list(model.parameters())
    losses = {
        "logit-adjustment": lambda: adjusted((counts / counts.sum()).log()),
        "focal": lambda: focal,
        "class-balanced": lambda: weighted(effective(counts)),
        "ldam+drw": lambda: margins(counts, effective(counts)),
        "lade": lambda: bounded(counts),
        "mixup": lambda: two_labels,
    }
    loss = losses.get(text, lambda: plain)()
    with seeded(run, "phase 0"):
        draws = evenly if text == "oversampling" else None
        script.stage(loss, run.phase, parameters, draws, text == "mixup", text == "sam")
    if text == "crt":
        with seeded(run, "phase 1"):
            model.head.reset_parameters()
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name.startswith("head."))
            for module in model.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()
            short = replace(run.phase, epochs=max(1, round(run.phase.epochs / 9)))
            script.stage(plain, short, list(model.head.parameters()), evenly)
    return model
