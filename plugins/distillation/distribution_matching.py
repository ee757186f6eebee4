"""Distribution matching (Zhao and Bilen, WACV 2023), and what all that match features share."""

import copy
from contextlib import contextmanager

import torch

from ltbench import LogUniform, Method, Positive, Rows, hookimpl
from ltbench_plugins.distillation.selection import by_chance, class_means


class Matching(Method):
    """Learns the pixels of a few images a class so that their features are like the real ones.

    They start as real rows, drawn as `random` draws them; where a class has too few, repeats start
    with a little noise, as they would stay alike for ever. At each step a network makes features of
    them, and of real rows of each class, under one and the same view, and all classes are matched
    at once. Pixels stay within the range of the real ones; bytes are learned as numbers and
    rounded at the end. Steps, rate and real rows are the protocol's.
    """

    needs = frozenset({"ipc"})
    corrects = "prior"

    def networks(self, run):
        """Endlessly, a network to match under and one that tells classes apart."""
        raise NotImplementedError

    def distance(self, real, labels, made, run):
        """The scalar to minimise, of features of real rows [N, D] and learned ones [C, ipc, D]."""
        raise NotImplementedError

    def optimizer_of(self, pixels, source, run):
        """What moves the pixels; `source` are the real ones [N, ...]."""
        return torch.optim.Adam([pixels], lr=run.granted.distilling.lr)

    def resample(self, train, run):
        source = run.views.pixels(train.inputs)
        kept, pixels, (low, high) = begun(train, source, run)
        optimizer, networks = self.optimizer_of(pixels, source, run), self.networks(run)
        draw = batches(train.labels, run)
        for _ in range(run.granted.distilling.iterations):
            network, expert = next(networks)
            view, rows = run.views.alike(run.rng), next(draw)
            with torch.no_grad():
                real = run.through(network, view(source[rows]))
            made = run.through(network, view(pixels)).unflatten(
                0, (run.num_classes, run.granted.ipc)
            )
            optimizer.zero_grad()
            self.distance(real, train.labels[rows], made, run).backward()
            optimizer.step()
            self.refine(pixels, kept.labels, expert, optimizer, run)
            with torch.no_grad():
                pixels.clamp_(low, high)
            run.passes += len(pixels)
        return Rows(stored(pixels.detach(), train.inputs), kept.labels)

    def refine(self, pixels, labels, expert, optimizer, run):
        """What else a step does to the pixels."""


class DM(Matching):
    """Matches the mean features of each class, under a network that is drawn afresh at each step.

    SGD with momentum 0.5 moves the pixels, as in released code; `lr` is its rate, in place of the
    protocol's, on images in standard deviations as there. With `pool`, networks are blends of the
    pool's before and after training, and the released code's are all random. Released code lets
    pixels leave the range of the real ones.
    """

    name = "dm"
    reference = "arXiv:2110.04181"
    space = {"lr": LogUniform(0.1, 10.0)}

    def __init__(self, lr: Positive = 1.0, pool: bool = False):
        self.lr = lr
        self.pool = pool

    def networks(self, run):
        return blends(run) if self.pool else fresh(run)

    def optimizer_of(self, pixels, source, run):
        in_deviations(pixels, source, run)
        return torch.optim.SGD([pixels], lr=self.lr, momentum=0.5)

    def distance(self, real, labels, made, run):
        gap = class_means(real, labels, run.num_classes) - made.mean(dim=1)
        return gap.square().sum()


def begun(train, source, run):
    """Rows that chance keeps, their pixels to learn from there on, and the range of the real ones.

    `source` are the pixels of all real rows.
    """
    kept = train[by_chance(train.labels, run)]
    low, high = (0, 1) if train.inputs.dtype == torch.uint8 else (source.min(), source.max())
    pixels = unlike(run.views.pixels(kept.inputs), kept.labels, train.labels, run)
    return kept, pixels.clamp_(low, high).requires_grad_(), (low, high)


def in_deviations(pixels, source, run):
    """Makes a step of SGD on pixels the one that it would be on standardised images.

    An image is x = std z + mean, so a step of -rate dL/dz on z is one of -rate std^2 dL/dx on x.
    The deviation of a channel is the protocol's or, where that states none, the real rows'.
    """
    if run.views.std:
        std = pixels.new_tensor(run.views.std).reshape(1, -1, *[1] * (pixels.dim() - 2))
    else:
        std = source.std(dim=(0, *range(2, source.dim())), keepdim=True, correction=0)
    pixels.register_hook(lambda slope: slope * std**2)


def unlike(pixels, labels, real, run):
    """A copy of pixels of some rows a class, with noise on those that repeat a real row."""
    place = torch.arange(len(labels), device=labels.device) % run.granted.ipc
    repeats = place >= real.bincount(minlength=run.num_classes)[labels]
    noise = torch.randn(pixels[repeats].shape, generator=run.rng, device=pixels.device)
    pixels = pixels.clone()
    pixels[repeats] += 0.1 * pixels.std() * noise
    if repeats.any():
        run.note(f"{int(repeats.sum())} images begin as repeats of a real row, with noise")
    return pixels


def fresh(run):
    """Networks like the run's with weights drawn anew, each only good until the next."""
    network = copy.deepcopy(run.model).eval().requires_grad_(False)
    while True:
        with chance(run):
            network.apply(lambda m: hasattr(m, "reset_parameters") and m.reset_parameters())
        yield network, network


@contextmanager
def chance(run):
    """Torch's global generator at a place that the run's chooses, and afterwards as it was."""
    seed = torch.randint(2**62, (), generator=run.rng, device=run.device)
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(int(seed))
        yield


def blends(run, balanced=False):
    """Networks between the start and the end of one of the pool, each only good until the next.

    NCFM's: share * start + (1 - share) * end of every parameter, the share uniform.
    """
    pool = run.granted.pool(balanced)
    network = copy.deepcopy(pool[0][0]).requires_grad_(False)
    while True:
        which = int(torch.randint(len(pool), (), generator=run.rng, device=run.device))
        share = float(torch.rand((), generator=run.rng, device=run.device))
        start, end = pool[which]
        ends = [list(one.parameters()) for one in (end, start)]
        with torch.no_grad():
            torch._foreach_copy_(list(network.parameters()), torch._foreach_lerp(*ends, share))
        yield network, end


def batches(labels, run):
    """Endlessly, positions of rows by chance, of each class the protocol's number or all it has."""
    counts = labels.bincount(minlength=run.num_classes)
    ordered = labels.sort().values
    place = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[ordered]
    within = place < run.granted.distilling.rows
    while True:
        key = torch.rand(len(labels), generator=run.rng, device=run.device, dtype=torch.float64)
        yield (labels + key).argsort()[within]


def stored(pixels, like):
    """Pixels in the type of the stored rows."""
    return (pixels * 255).round().to(like.dtype) if like.dtype == torch.uint8 else pixels.to(like)


@hookimpl
def register_methods(register):
    register(DM)
