"""Experts for different test splits, weighed on test inputs (SADE: Zhang et al., NeurIPS 2022)."""

import torch
import torch.nn.functional as F
from torch import nn

from ltbench import Method, NonNegative, Positive, Uniform, hookimpl
from ltbench.toolbox import view_of, with_experts


class SADE(Method):
    """Trains three experts for a test split like training, a uniform and a reversed one.

    The first sees plain scores, the second scores + log(prior), the third also less
    tau * log(inverse prior), which hands out the shares of the classes in reverse rank; classes
    of one size get the mean of theirs (our choice). The experts are those of RIDE.

    `adapt` finds the experts' weights on unlabelled test inputs: two augmented views of an input
    should get alike probabilities, by their cosine. The network stays as it is. Five passes of SGD
    with Nesterov's momentum and decay, as released code is set for CIFAR-100, stop early where a
    weight is below 0.05 once rounded to hundredths. Of the paper's views we take the crops and
    flips of the protocol, not the changes of colour; where it has none, Gaussian noise stands in
    for them, by default of half the inputs' standard deviation (our choice; at a tenth, weights
    hardly move).
    """

    name = "sade"
    reference = "arXiv:2107.09249"
    needs = frozenset({"test_inputs"})
    corrects = "prior"
    space = {"tau": Uniform(1.0, 3.0)}

    def __init__(self, tau: NonNegative = 2.0, scale: Positive = 30.0, noise: NonNegative = 0.5):
        self.tau = tau
        self.scale = scale
        self.noise = noise

    def build(self, model, run):
        return with_experts(model, 3, self.scale, run)

    def prepare(self, run):
        log_prior = run.seen.log()
        backward = log_prior - self.tau * reversed_ranks(log_prior)
        self.shifts = torch.stack([torch.zeros_like(log_prior), log_prior, backward])

    def adjust(self, scores, labels, run):
        return scores + self.shifts[run.head]

    def adapt(self, model, inputs, run):
        weights = aggregation(model, inputs, run, self.noise)
        told = ", ".join(f"{weight:.2f}" for weight in weights.tolist())
        run.note(f"the experts' weights on the test inputs are {told}")
        model.head = Weighted(model.head, weights)
        return model


class Weighted(nn.Module):
    """Heads whose mean is the weighted sum of what they were."""

    def __init__(self, head, weights):
        super().__init__()
        self.head = head
        self.register_buffer("factors", len(weights) * weights)

    def forward(self, features):
        heads = self.head(features)
        return tuple(factor * head for factor, head in zip(self.factors, heads, strict=True))


def reversed_ranks(values):
    """The values [C] with the largest given to the place of the smallest, and so on."""
    order = values.argsort()
    handed = torch.empty_like(values).scatter(0, order, values[order.flip(0)])
    _, group, sizes = values.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(sizes), dtype=values.dtype, device=values.device)
    return (sums.index_add(0, group, handed) / sizes)[group]


def aggregation(model, inputs, run, noise, epochs=5, batch_size=128, lr=0.1, least=0.05):
    """The weight of each expert at which two views of an input are scored most alike."""

    @torch.no_grad()
    def scored(part):
        return torch.stack(model.head(run.through(model, view_of(part, run, noise))))

    free = torch.full_like(scored(inputs[:1])[:, 0, 0], 1 / 3).requires_grad_()
    optimizer = torch.optim.SGD([free], lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=run.rng, device=inputs.device)
        for rows in order.split(batch_size):
            one, two = scored(inputs[rows]), scored(inputs[rows])
            (slope,) = torch.autograd.grad(likeness(one, two, free.softmax(0)), free)
            free.grad = -slope
            optimizer.step()
        if free.softmax(0).min().round(decimals=2) < least:
            break
    return free.detach().softmax(0)


def likeness(one, two, weights):
    """The mean cosine of the probabilities that two views get from weighted experts [E, N, C]."""
    p, q = (torch.einsum("e,enc->nc", weights, view).softmax(1) for view in (one, two))
    return F.cosine_similarity(p, q).mean()


@hookimpl
def register_methods(register):
    register(SADE)
