"""Trajectory matching for long-tailed sets (LAD: Zhao et al., CVPR 2025), reconstructed.

arXiv:2408.14506. Told of its released code: the student's loss is weighed by class counts, so that
its backbone comes to resemble that of an expert of the long tail; the backbone is matched to such
an expert with weight 0.1, the classifier to one that saw classes evenly with weight 1; both go two
epochs. Chosen here: class weights are the counts themselves, the even expert draws classes evenly,
both begin alike, the student takes ten steps, and Adam moves the pixels and its rate. The soft
labels and the whitening of the original spend another budget and are left out. It was published for
80 steps and 10,000 iterations; at a fiftieth of that, on digits, it does not beat real rows.
"""

import copy
import math
from itertools import islice
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn
from torch.func import functional_call

from ltbench import Method, NonNegative, Positive, Rows, hookimpl
from ltbench_plugins.distillation.distribution_matching import fresh, stored, unlike
from ltbench_plugins.distillation.selection import by_chance

Count = Annotated[int, Meta(ge=1)]


class LAD(Method):
    """Learns images on which a student takes the way that experts took on the real rows.

    A student begins somewhere on the experts' path, takes `steps` on the images, and should end
    where `epochs` more took the experts. `backbone` and `classifier` are the weights of their
    mismatches; a class weighs in the student's loss like its count to the power `tail`;
    `lr` is the experts' rate, at which the student's begins.
    """

    name = "lad"
    reference = "arXiv:2408.14506"
    origin = "reconstruction"
    needs = frozenset({"ipc"})
    corrects = "prior"

    def __init__(
        self,
        steps: Count = 10,
        epochs: Count = 2,
        backbone: NonNegative = 0.1,
        classifier: NonNegative = 1.0,
        tail: NonNegative = 1.0,
        lr: Positive = 0.2,
    ):
        self.steps = steps
        self.epochs = epochs
        self.backbone = backbone
        self.classifier = classifier
        self.tail = tail
        self.lr = lr

    def resample(self, train, run):
        run.note(f"origin: {self.origin}")
        kept = train[by_chance(train.labels, run)]
        source = run.views.pixels(train.inputs)
        low, high = (0, 1) if train.inputs.dtype == torch.uint8 else (source.min(), source.max())
        pixels = unlike(run.views.pixels(kept.inputs), kept.labels, train.labels, run)
        pixels.clamp_(low, high).requires_grad_()
        rate = torch.tensor(math.log(self.lr), device=run.device, requires_grad=True)
        optimizer = torch.optim.Adam([pixels, rate], lr=run.granted.distilling.lr)
        shares = run.counts**self.tail
        weights = (shares / shares.mean())[kept.labels]
        paths = [joined(network, train, self.lr, run) for network in starts(run)]
        for _ in range(run.granted.distilling.iterations):
            path = paths[int(torch.randint(len(paths), (), generator=run.rng, device=run.device))]
            last = max(len(path) - 1 - self.epochs, 0)
            first = int(torch.randint(last + 1, (), generator=run.rng, device=run.device))
            begin, goal = path[first], path[min(first + self.epochs, len(path) - 1)]
            views = [run.views.alike(run.rng)(pixels) for _ in range(self.steps)]
            end = travelled(run.model, begin, views, kept.labels, weights, rate.exp())
            optimizer.zero_grad()
            self.mismatch(begin, end, goal).backward()
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(low, high)
            run.passes += self.steps * len(pixels)
        return Rows(stored(pixels.detach(), train.inputs), kept.labels)

    def mismatch(self, begin, end, goal):
        """How far off the end is, in units of the way, for the backbone and for the classifier."""
        total = 0.0
        for weight, head in ((self.backbone, False), (self.classifier, True)):
            names = [name for name in goal if name.startswith("head.") == head]
            off = sum((end[name] - goal[name]).square().sum() for name in names)
            way = sum((begin[name] - goal[name]).square().sum() for name in names)
            total = total + weight * off / way
        return total


def starts(run):
    """As many networks drawn anew as the protocol grants; their heads begin at nothing, alike for
    all classes.
    """
    for network, _ in islice(fresh(run), run.granted.distilling.networks):
        network = copy.deepcopy(network).requires_grad_()
        for parameter in network.head.parameters():
            nn.init.zeros_(parameter)
        yield network


def joined(network, train, lr, run):
    """The path of the backbone on the long tail with that of the classifier on even draws."""
    even = copy.deepcopy(network)
    chances = 1 / run.counts[train.labels]
    paths = path(network, train, lr, None, run), path(even, train, lr, chances, run)
    return [
        {name: (evenly if name.startswith("head.") else plain)[name] for name in plain}
        for plain, evenly in zip(*paths, strict=True)
    ]


def path(network, train, lr, chances, run):
    """The parameters at the start and after every epoch of gradient descent on the real rows."""
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    path = [snapshot(network)]
    for _ in range(run.granted.distilling.epochs):
        if chances is None:
            order = torch.randperm(len(train), generator=run.rng, device=run.device)
        else:
            order = chances.multinomial(len(train), replacement=True, generator=run.rng)
        for rows in order.split(run.granted.distilling.rows):
            scores = network(run.augment(train.inputs[rows]))
            optimizer.zero_grad()
            F.cross_entropy(scores, train.labels[rows]).backward()
            optimizer.step()
        path.append(snapshot(network))
        run.passes += len(train)
    return path


def snapshot(network):
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def travelled(network, parameters, views, labels, weights, rate):
    """The parameters after a step of gradient descent on each of the views, with their history."""
    here = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    for view in views:
        scores = functional_call(network, here, (view,))
        loss = (weights * F.cross_entropy(scores, labels, reduction="none")).mean()
        slopes = torch.autograd.grad(loss, list(here.values()), create_graph=True)
        here = {
            name: value - rate * slope
            for (name, value), slope in zip(here.items(), slopes, strict=True)
        }
    return here


@hookimpl
def register_methods(register):
    register(LAD)
