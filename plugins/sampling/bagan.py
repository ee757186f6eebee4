"""BAGAN: new images of rare classes from a balancing GAN (Mariani et al., 2018)."""

from itertools import islice
from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta
from torch import nn

from ltbench import LTBenchError, Method, NonNegative, Positive, Rows, hookimpl

Count = Annotated[int, Meta(ge=1)]
MOST_PASSES = 100


class BAGAN(Method):
    """Grows each class to the size of the largest with images that a GAN makes of it.

    As in the paper, an autoencoder learns all images, and each class is a Gaussian in its latent
    space; then its decoder turns generator, its encoder discriminator, which tells the classes
    and one more, fake, apart. Of a discriminator's batch 1 / C are fake, as in the paper's code,
    whose are `latent`, the dropout and Adam's beta1 of 0.5. Ours are the smaller networks and, for
    so short a training, the autoencoder's learning rate `lr`, which is `gan_lr` in the code;
    `steps` are taken with the autoencoder, then with the GAN, but the rows pass 100 times at most.
    A class of few rows leans on the covariance common to all, as if that came of `shrinkage` rows;
    both divide by n, where the code's divides by n - 1 and leans on nothing. What is made of a row
    or two may look like another class.
    """

    name = "bagan"
    reference = "arXiv:1803.09655"
    corrects = "prior"

    def __init__(
        self,
        steps: Count = 500,
        latent: Count = 100,
        width: Count = 16,
        lr: Positive = 1e-3,
        gan_lr: Positive = 5e-5,
        batch_size: Count = 64,
        shrinkage: NonNegative = 100.0,
    ):
        self.steps = steps
        self.latent = latent
        self.width = width
        self.lr = lr
        self.gan_lr = gan_lr
        self.batch_size = batch_size
        self.shrinkage = shrinkage

    def resample(self, train, run):
        if train.inputs.dim() != 4:
            shape = [*train.inputs.shape[1:]]
            raise LTBenchError(f"bagan makes images, and rows of {shape} are none")
        low, high = (float(edge) for edge in train.inputs.aminmax())
        half = (high - low) / 2 or 1.0
        devices = [run.device] if run.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # layers and dropout draw from the global one
            torch.manual_seed(run.seed)
            images = (train.inputs.to(run.device).float() - low) / half - 1
            # of a class without rows there is nothing to learn
            classes, labels = train.labels.to(run.device).unique(return_inverse=True)
            generator, gaussians = self.learn(images, labels, len(classes))
            n_c = labels.bincount()
            new = torch.arange(len(classes), device=run.device)
            new = new.repeat_interleave(n_c.max() - n_c)
            with torch.no_grad():
                parts = [generator(drawn(gaussians, part)) for part in new.split(512)]
        made = (torch.cat([images[:0], *parts]) + 1) * half + low
        if not train.inputs.is_floating_point():
            made = made.round()
        return Rows(
            torch.cat([train.inputs, made.to(train.inputs)]),
            torch.cat([train.labels, classes[new].to(train.labels)]),
        )

    def learn(self, images, labels, classes):
        """A generator of images, and the Gaussian of each class that it takes them from."""
        encoder = Encoder(images.shape[1:], self.width, self.latent).to(images.device)
        generator = Decoder(images.shape[1:], self.width, self.latent).to(images.device)
        both = adam([*encoder.parameters(), *generator.parameters()], self.lr)
        for rows in self.batches(len(images), images.device):
            update(both, F.mse_loss(generator(encoder(images[rows])), images[rows]))
        encoder.eval()
        with torch.no_grad():
            codes = torch.cat([encoder(part) for part in images.split(512)])
        gaussians = fitted(codes, labels, classes, self.shrinkage)
        encoder.train()
        encoder.out = nn.Linear(encoder.out.in_features, classes + 1).to(images.device)
        telling = adam(encoder.parameters(), self.gan_lr)
        making = adam(generator.parameters(), self.gan_lr)
        for rows in self.batches(len(images), images.device):
            fakes = -(-len(rows) // classes)
            asked = torch.randint(classes, (fakes,), device=images.device)
            with torch.no_grad():
                fake = generator(drawn(gaussians, asked))
            truth = torch.cat([labels[rows], torch.full_like(asked, classes)])
            update(telling, F.cross_entropy(encoder(torch.cat([images[rows], fake])), truth))
            asked = torch.randint(classes, (len(rows) + fakes,), device=images.device)
            update(making, F.cross_entropy(encoder(generator(drawn(gaussians, asked))), asked))
        return generator, gaussians

    def batches(self, rows, device):
        """The positions of the rows of each batch."""
        passes = (torch.randperm(rows, device=device) for _ in range(MOST_PASSES))
        every = (batch for order in passes for batch in order.split(self.batch_size))
        return islice(every, self.steps)


class Encoder(nn.Module):
    """Three convolutions, two of which halve an image [channels, height, width]."""

    def __init__(self, shape, width, latent):
        super().__init__()
        layers, channels = [], shape[0]
        for grown, stride in ((1, 2), (2, 2), (4, 1)):
            convolution = nn.Conv2d(channels, grown * width, 3, stride, padding=1)
            layers += [convolution, nn.LeakyReLU(0.3), nn.Dropout(0.3)]
            channels = grown * width
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.out = nn.Linear(channels * quarter(shape[1]) * quarter(shape[2]), latent)

    def forward(self, x):
        return self.out(self.body(x))


class Decoder(nn.Module):
    """The way back: two linear layers, and two convolutions that double the image."""

    def __init__(self, shape, width, latent):
        super().__init__()
        self.height, self.breadth = shape[1:]
        small = (4 * width, quarter(self.height), quarter(self.breadth))
        self.layers = nn.Sequential(
            nn.Linear(latent, 16 * width),
            nn.ReLU(),
            nn.Linear(16 * width, small[0] * small[1] * small[2]),
            nn.ReLU(),
            nn.Unflatten(1, small),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, shape[0], 4, 2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.layers(z)[..., : self.height, : self.breadth]


def quarter(length):
    return -(-length // 4)


def fitted(codes, labels, classes, shrinkage):
    """The mean [C, D] of each class's codes [N, D], and a factor [C, D, D] of its covariance."""
    n_c = labels.bincount(minlength=classes).to(codes)
    means = torch.zeros(classes, codes.shape[1]).to(codes).index_add(0, labels, codes)
    means = means / n_c[:, None]
    centred = codes - means[labels]
    own = torch.stack([centred[labels == c].T @ centred[labels == c] for c in range(classes)])
    common = own.sum(0) / n_c.sum()
    mixed = (own + shrinkage * common) / (n_c + shrinkage)[:, None, None]
    values, vectors = torch.linalg.eigh(mixed)  # a Cholesky factor would need full rank
    return means, vectors * values.clamp(min=0).sqrt()[:, None]


def drawn(gaussians, labels):
    """A code [N, D] for each label [N]."""
    means, factors = gaussians
    noise = torch.randn(len(labels), means.shape[1], 1, device=means.device, dtype=means.dtype)
    return means[labels] + (factors[labels] @ noise)[..., 0]


def adam(parameters, lr):
    return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999), fused=True)


def update(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@hookimpl
def register_methods(register):
    register(BAGAN)
