"""CMO: parts of rare images pasted onto common ones (Park et al., CVPR 2022)."""

from dataclasses import replace

import torch

from ltbench import LogUniform, LTBenchError, Method, NonNegative, Share, Uniform, hookimpl
from ltbench_plugins.sampling.mixup import beside


class CMO(Method):
    """Pastes a box of a foreground image, drawn with weights n_c^-alpha, onto each image.

    One box a batch, in a share `probability` of the batches; the loss is split between the two
    labels by area. Box and defaults are those of the paper's code: the area is uniform before the
    box is cut off at the border, and `start` and `stop` are the epochs 4 to 196 of its 200.
    """

    name = "cmo"
    reference = "arXiv:2112.00412"
    corrects = "prior"
    neutral = {"probability": 0.0}
    space = {"alpha": LogUniform(0.1, 4.0), "probability": Uniform(0.1, 1.0)}

    def __init__(
        self,
        alpha: NonNegative = 1.0,
        probability: Share = 0.5,
        start: Share = 0.02,
        stop: Share = 0.985,
    ):
        self.alpha = alpha
        self.probability = probability
        self.start = start
        self.stop = stop

    def prepare(self, run):
        if run.train is not None:
            n_c = run.train.labels.bincount().to(run.counts.dtype)
            self.weights = (n_c**-self.alpha)[run.train.labels]

    def batch(self, batch, run):
        x, n = batch.inputs, len(batch.rows)
        if x.dim() != 4:
            raise LTBenchError(f"cmo pastes parts of images, and rows of {[*x.shape[1:]]} are none")
        if run.train is None:  # a probe, which has nothing to draw from
            return batch
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=run.rng)
        front = run.train[chosen]
        inside = self.box(x, run)
        share = 1 - inside.to(x.dtype).mean()  # of the area that is left of the image behind
        pasted = torch.where(inside, run.augment(front.inputs), x[:n])
        return replace(
            batch,
            inputs=beside(pasted, x[n:]),
            targets=[
                pair
                for labels, of in batch.targets
                for pair in ((labels, share * of), (front.labels, (1 - share) * of))
            ],
            groups=tuple(g for own in batch.groups for g in (own, front.groups)),
        )

    def box(self, x, run):
        """Which pixels [H, W] lie in the box; none where nothing is to be pasted."""
        coin, area, *centre = torch.rand(4, generator=run.rng, device=x.device)
        active = (run.progress >= self.start) & (run.progress < self.stop)
        side = area.sqrt() * (active & (coin < self.probability))
        within = []
        for middle, length in zip(centre, x.shape[2:], strict=True):
            half = (length * side).floor() // 2
            offset = torch.arange(length, device=x.device) - (length * middle).floor()
            within.append((offset >= -half) & (offset < half))
        return within[0][:, None] & within[1]


@hookimpl
def register_methods(register):
    register(CMO)
