"""Cross distillation for few-shot compression (Bai et al., AAAI 2020)."""

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn

from ltbench import Positive, Share, Uniform, hookimpl
from ltbench.tracks.compression.contract import Compressor
from ltbench.tracks.compression.pruning import Graph, kept, largest, portions, watched

Count = Annotated[int, Meta(ge=1)]
RIDGE = 1e-3  # of the mean energy, towards the weights found so far


class CrossDistillation(Compressor):
    """Prunes the inputs of each layer so that it does to the teacher's and to its own what it did.

    Layer after layer W' minimises mu |W' X_T - W X_T|^2 + (1 - mu) |W' X_S - W X_S|^2 over the
    inputs X_T that the teacher gives it and X_S that the compressed layers before give it. Proximal
    steps on the norms of its input channels, `steps` of them with a threshold that rises until as
    many as must are nothing, choose those that stay; the filters behind the others are taken out.
    What stays is solved for. Then all of it learns by cross-entropy, the head too. Departures from
    released code: products of inputs in place of batches and Adam; to fine-tune, the protocol's
    optimizer at `rate` times its rate.
    """

    name = "cd"
    reference = "arXiv:1911.09450"
    needs = frozenset({"teacher"})
    space = {"mu": Uniform(0.0, 1.0)}

    def __init__(self, mu: Share = 0.6, steps: Count = 100, rate: Positive = 0.05):
        self.mu = mu
        self.steps = steps
        self.rate = rate

    @torch.no_grad()
    def build(self, model, run):
        graph = Graph(model, run)
        for name, takers in graph.layers.items():
            filters = len(graph.modules[name].weight)
            count = kept(filters, run.granted.compressing.keep)
            products = {taker: self.product(model, taker, run) for taker in takers}
            weights = {taker: graph.modules[taker].weight.flatten(1) for taker in takers}
            sparse = [
                sparsed(weights[taker], products[taker], filters, count, self.steps)
                for taker in takers
            ]
            stay = largest(sum(norms(weight, filters) for weight in sparse), count)
            solved = {
                taker: refitted(weights[taker], products[taker], columns(stay, taken, filters))
                for taker, taken in weights.items()
            }
            graph.keep(name, stay)
            for taker, weight in solved.items():
                layer = graph.modules[taker]
                layer.weight.copy_(weight.reshape(layer.weight.shape))
        return model

    def phases(self, plan, run):
        return [replace(phase, lr=phase.lr * self.rate) for phase in plan]

    def product(self, model, name, run):
        """mu X_T X_T' + (1 - mu) X_S X_S' of a layer's inputs, per row."""
        total, rows = 0.0, 0.0
        layer = run.granted.teacher.get_submodule(name)
        with watched(model, [name]) as student, watched(run.granted.teacher, [name]) as teacher:
            for inputs, weights in portions(run):
                model(inputs)
                run.granted.teacher(inputs)
                for seen, share in ((teacher, self.mu), (student, 1 - self.mu)):
                    x = patches(layer, seen[name][0])
                    weight = weights.repeat_interleave(len(x) // len(weights))[:, None]
                    total = total + share * (x * weight).T @ x
                rows += weight.sum()
        return total / rows


def patches(layer, inputs):
    """What a layer multiplies with its weights, as rows."""
    if isinstance(layer, nn.Linear):
        return inputs
    taken = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return taken.movedim(1, -1).flatten(0, -2)


def norms(weight, filters):
    """The norm of what each filter of the layer before meets [filters], of weights [O, D]."""
    return weight.reshape(len(weight), filters, -1).norm(dim=(0, 2))


def sparsed(weight, product, filters, count, steps):
    """Weights after proximal steps that leave `count` of the channels that come in."""
    rate = 1 / torch.linalg.matrix_norm(product, 1)  # no larger than one over the curvature
    sparse, gone = weight.clone(), filters - count
    for k in range(steps):
        sparse -= rate * (sparse - weight) @ product
        if gone:
            length = norms(sparse, filters)
            threshold = length.sort().values[gone - 1] * (k + 1) / steps
            shrunk = (1 - threshold / length.clamp(min=1e-12)).clamp(min=0)
            sparse *= shrunk.repeat_interleave(weight.shape[1] // filters)
    return sparse


def columns(stay, weight, filters):
    """The columns of weights [O, D] that belong to the filters that stay."""
    width = weight.shape[1] // filters
    return (stay[:, None] * width + torch.arange(width, device=stay.device)).flatten()


def refitted(weight, product, stay):
    """The weights of the columns that stay for which the layer does most nearly what it did."""
    part = product[stay][:, stay]
    pull = RIDGE * part.diagonal().mean().clamp(min=1e-12) * torch.eye(len(part)).to(part)
    aim = weight @ product[:, stay] + weight[:, stay] @ pull
    return torch.linalg.solve(part + pull, aim.T).T


@hookimpl
def register_methods(register):
    register(CrossDistillation)
