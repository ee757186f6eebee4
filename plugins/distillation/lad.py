"""Trajectory matching for long-tailed sets (LAD: Zhao et al., CVPR 2025).

arXiv:2408.14506, after its released code. Departures: an expert's epochs are the protocol's and
plain SGD takes its steps (a sharpness-aware one there, for a hundred epochs); a start is anywhere
on its path (in the first part there); its head begins at nothing, alike for all classes; images
begin as rows drawn by chance, as there on CIFAR-100, and stay within the range of the real ones.
Whitening is left out, and so are learned soft labels, which spend another budget.
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
from ltbench_plugins.distillation.distribution_matching import begun, fresh, in_deviations, stored

Count = Annotated[int, Meta(ge=1)]
AT_ONCE = 1000  # images of a student's step
DECAY = 5e-3  # of the weights of an expert of the long tail
RATE_OF_RATE = 1e-5

STAGES = {  # weights of the first and the second, by imbalance factor and images a class
    10: {10: (1.0, 0.2), 20: (1.0, 0.2), 50: (1.0, 0.2)},
    50: {10: (1.0, 0.5), 20: (0.5, 1.0), 50: (0.5, 1.0)},
    100: {10: (0.5, 1.0), 20: (0.5, 1.0), 50: (1.0, 0.5)},
    200: {10: (0.1, 1.0), 20: (0.1, 1.0), 50: (0.1, 1.0)},
}
OF_MANY_CLASSES = 1.0, 0.1  # CIFAR-100 and Tiny ImageNet, whatever their factor


class LAD(Method):
    """Learns images on which two students take the ways that experts took on the real rows.

    The first student starts on the path of an expert of the long tail. A class weighs n_c / n in
    its loss, which `weighted` switches, and its backbone should get where `epochs` more took the
    expert's. The second starts where such a path ends, moves its classifier alone, weighed by
    nothing, and should get where as many epochs of even draws took that of the expert. Each takes
    `steps` (80 on CIFAR-10, 10 to 40 elsewhere there); images learn from every step by itself, as
    in TESLA, not through those after it, as in MTT.

    `backbone` and `classifier` weigh the two; by default as the released configuration does that is
    nearest in classes, factor and images a class. SGD with momentum 0.5 moves the pixels, at the
    rate `images` on standardised ones (100 or 1,000 there), and the students' rate, which begins as
    the experts' `lr`.
    """

    name = "lad"
    reference = "arXiv:2408.14506"
    needs = frozenset({"ipc"})
    corrects = "prior"

    def __init__(
        self,
        steps: Count = 20,
        epochs: Count = 2,
        backbone: NonNegative | None = None,
        classifier: NonNegative | None = None,
        weighted: bool = True,
        lr: Positive = 0.01,
        images: Positive = 100.0,
    ):
        self.steps = steps
        self.epochs = epochs
        self.backbone = backbone
        self.classifier = classifier
        self.weighted = weighted
        self.lr = lr
        self.images = images

    def resample(self, train, run):
        source = run.views.pixels(train.inputs)
        kept, pixels, (low, high) = begun(train, source, run)
        in_deviations(pixels, source, run)
        rate = torch.tensor(self.lr, device=run.device, requires_grad=True)
        rates = torch.optim.SGD([rate], RATE_OF_RATE, momentum=0.5)
        optimizer = torch.optim.SGD([pixels], self.images, momentum=0.5)
        even = torch.ones_like(run.counts)
        tailed = run.counts / run.counts.sum() if self.weighted else even
        stages = zip(self.stage_weights(run), (tailed, even), strict=True)
        stages = [(scale, weights[kept.labels]) for scale, weights in stages]
        experts = [self.paths(network, train, run) for network in starts(run)]
        for _ in range(run.granted.distilling.iterations):
            optimizer.zero_grad()
            rates.zero_grad()
            for stage, (scale, weights) in enumerate(stages):
                begin, goal = self.way(experts[chosen(len(experts), run)][stage], run)
                batches = [
                    (run.augment(pixels[rows]), kept.labels[rows], weights[rows])
                    for rows in islice(orders(len(kept), run), self.steps)
                ]
                follow(run.model, begin, goal, batches, rate, scale, head_alone=stage == 1)
                run.passes += 2 * sum(len(labels) for _, labels, _ in batches)
            optimizer.step()
            rates.step()
            with torch.no_grad():
                pixels.clamp_(low, high)
        return Rows(stored(pixels.detach(), train.inputs), kept.labels)

    def stage_weights(self, run):
        """How much each of the two stages counts."""
        told = nearest(run.num_classes, float(run.counts.max() / run.counts.min()), run.granted.ipc)
        given = self.backbone, self.classifier
        return [own if own is not None else by for own, by in zip(given, told, strict=True)]

    def paths(self, network, train, run):
        """The way of an expert on the long tail, and that of its classifier on even draws."""
        tail = torch.optim.SGD(network.parameters(), self.lr, weight_decay=DECAY)
        first = path(network, train, tail, run.granted.distilling.epochs, None, run)
        network.requires_grad_(False).head.requires_grad_()
        head = torch.optim.SGD(network.head.parameters(), self.lr)
        return first, path(network, train, head, self.epochs, 1 / run.counts[train.labels], run)

    def way(self, path, run):
        """Two points of a path, `epochs` apart or as far as it goes."""
        begin = chosen(max(len(path) - self.epochs, 1), run)
        return path[begin], path[min(begin + self.epochs, len(path) - 1)]


def follow(network, begin, goal, batches, rate, scale, head_alone=False):
    """How far off a student ends, in units of its way; `scale` times the slopes of that are added.

    A step is taken on each of the batches, which are images, labels and weights; slopes are those
    of the images and of the rate. Parameters go by name; what is compared is the backbone, or the
    head where it learns alone.
    """
    head = [name for name in begin if name.startswith("head.")]
    backbone = [name for name in begin if name not in head]
    learning, compared = (head, head) if head_alone else ([*begin], backbone)
    here, stops = begin, []
    for images, *beside in batches:
        stops.append(here)
        slopes = slopes_of(network, here, learning, images.detach(), *beside)
        here = here | {name: here[name] - rate.detach() * slopes[name] for name in learning}
    off = {name: here[name] - goal[name] for name in compared}
    way = sum((begin[name] - goal[name]).square().sum() for name in compared)
    for stop, (images, *beside) in zip(stops, batches, strict=True):
        slopes = slopes_of(network, stop, learning, images, *beside, create_graph=True)
        along = -2 * scale / way * sum((off[name] * slopes[name]).sum() for name in compared)
        (of_images,) = torch.autograd.grad(along, images)
        images.backward(rate.detach() * of_images)
        rate.backward(along.detach())
    return sum(gap.square().sum() for gap in off.values()) / way


def slopes_of(network, parameters, learning, images, labels, weights, create_graph=False):
    """The slope of the mean weighed cross-entropy by the parameters that learn."""
    here = {name: value.detach() for name, value in parameters.items()}
    leaves = [here[name].requires_grad_() for name in learning]
    losses = F.cross_entropy(functional_call(network, here, (images,)), labels, reduction="none")
    slopes = torch.autograd.grad((weights * losses).mean(), leaves, create_graph=create_graph)
    return dict(zip(learning, slopes, strict=True))


def nearest(classes, factor, ipc):
    """The weights of both stages in the released configuration nearest to a problem."""
    if classes > 10:
        return OF_MANY_CLASSES
    by_ipc = STAGES[min(STAGES, key=lambda known: abs(math.log(known / factor)))]
    return by_ipc[min(by_ipc, key=lambda known: abs(math.log(known / ipc)))]


def starts(run):
    """As many networks drawn anew as the protocol grants; their heads begin at nothing, alike for
    all classes.
    """
    for network, _ in islice(fresh(run), run.granted.distilling.networks):
        network = copy.deepcopy(network).requires_grad_()
        for parameter in network.head.parameters():
            nn.init.zeros_(parameter)
        yield network


def path(network, train, optimizer, epochs, chances, run):
    """The parameters at the start and after every epoch of gradient descent on the real rows.

    With `chances` rows are drawn by them, as many as if all classes were of the largest's size.
    """
    path, most = [snapshot(network)], int(run.counts.max()) * run.num_classes
    for _ in range(epochs):
        if chances is None:
            order = torch.randperm(len(train), generator=run.rng, device=run.device)
        else:
            order = chances.multinomial(most, replacement=True, generator=run.rng)
        for rows in order.split(run.granted.distilling.rows):
            scores = network(run.augment(train.inputs[rows]))
            optimizer.zero_grad()
            F.cross_entropy(scores, train.labels[rows]).backward()
            optimizer.step()
        path.append(snapshot(network))
        run.passes += len(order)
    return path


def snapshot(network):
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def chosen(many, run):
    return int(torch.randint(many, (), generator=run.rng, device=run.device))


def orders(images, run):
    """Endlessly, positions of images by chance, as many as a step takes, each once in a round."""
    while True:
        order = torch.randperm(images, generator=run.rng, device=run.device)
        yield from order.split(AT_ONCE)


@hookimpl
def register_methods(register):
    register(LAD)
