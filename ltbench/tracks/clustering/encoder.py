"""The encoder of a protocol: a network trained on the rows of a cell without their labels."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltbench import models
from ltbench.augmentation.strong import strongly
from ltbench.augmentation.views import Views
from ltbench.contract.context import PREDICTED_AT_ONCE
from ltbench.tracks import kept_networks
from ltbench.tracks.clustering.problem import Clusters
from ltbench.training.engine import portions, stream_seed

KIND = "encoders"
PROJECTED = 64  # coordinates in which views are compared


@dataclass(frozen=True)
class Encoder:
    """A trained network, and what makes of its features those that methods are given: less their
    mean over the pool, over one number, so that a coordinate has a mean square of one."""

    network: nn.Module
    views: Views
    mean: Tensor
    size: Tensor

    @torch.no_grad()
    def of_images(self, images: Tensor) -> Tensor:
        """The features [N, D] of images as a network takes them."""
        parts = images.split(PREDICTED_AT_ONCE)
        features = torch.cat([self.network.features(part) for part in parts])  # type: ignore[operator]
        return (features - self.mean) / self.size

    def __call__(self, inputs: Tensor) -> Tensor:
        """The features [N, D] of stored inputs."""
        return self.of_images(self.views.plain(inputs))

    def stored(self, protocol: Clusters, inputs: Tensor, seed: int) -> Tensor:
        """The features [V, N, D] of as many strong views of each row as the protocol says."""
        chance, told = _chance(seed, "stored views", inputs.device), protocol.encoder
        shown = (strongly(told.strong, inputs, self.views, chance) for _ in range(told.views))
        return torch.stack([self.of_images(images) for images in shown])


def encoder_of(protocol: Clusters, inputs: Tensor, seed: int, device: torch.device) -> Encoder:
    """The encoder of a cell, trained on the inputs of its pool, or read if another cell did that.

    Raises:
        LTBenchError: the network does not fit the rows, or one that was kept is damaged.
    """
    views = Views(mean=protocol.data.mean, std=protocol.data.std)
    key = kept_networks.key_of(
        protocol,
        device,
        [protocol.network, protocol.encoder, protocol.data.mean, protocol.data.std, seed],
        [inputs.cpu()],
    )
    network = fresh(protocol, tuple(inputs.shape[1:]), seed).to(device)
    with kept_networks.alone(KIND, key):
        if kept_networks.read(KIND, key, [network]) is None:
            train(network, protocol, inputs.to(device), views, seed)
            kept_networks.write(KIND, key, [network])
    network.eval().requires_grad_(False)
    raw = Encoder(network, views, torch.zeros((), device=device), torch.ones((), device=device))
    features = raw(inputs.to(device))
    mean = features.mean(dim=0)
    size = (features - mean).square().mean().sqrt().clamp(min=1e-6)
    return Encoder(network, views, mean, size)


def fresh(protocol: Clusters, shape: tuple[int, ...], seed: int) -> nn.Module:
    """The network as its training begins, with one head, a projector in the place of scores."""
    options = dict(protocol.network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "encoder"))
        network = models.build(options.pop("name"), shape, PROJECTED, options)
        width = int(network.head.in_features)  # type: ignore[union-attr, arg-type]
        network.head = nn.Sequential(
            nn.Linear(width, PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED)
        )
    return network


def train(network: nn.Module, protocol: Clusters, inputs: Tensor, views: Views, seed: int) -> None:
    """Trains it so that of all views of a batch the two of one row are nearest (SimCLR)."""
    told, chance = protocol.encoder, _chance(seed, "encoder", inputs.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=told.lr)
    sizes = portions(len(inputs), min(told.batch_size, len(inputs)))
    steps, now = told.epochs * len(sizes), 0
    network.train()
    for _ in range(told.epochs):
        order = torch.randperm(len(inputs), generator=chance, device=inputs.device)
        for rows in order.split(sizes):
            for group in optimizer.param_groups:
                group["lr"] = told.lr * 0.5 * (1 + math.cos(math.pi * now / steps))
            both = [strongly(told.strong, inputs[rows], views, chance) for _ in range(2)]
            optimizer.zero_grad(set_to_none=True)
            nearest(network(torch.cat(both)), told.temperature).backward()
            optimizer.step()
            now += 1


def nearest(projected: Tensor, temperature: float) -> Tensor:
    """The loss of views [2N, D], first all first ones: the cross-entropy of which of the others is
    of the same row, by cosines over the temperature (Chen et al., arXiv:2002.05709)."""
    unit = F.normalize(projected)
    number = len(unit) // 2
    alike = unit @ unit.T / temperature
    itself = torch.eye(2 * number, dtype=torch.bool, device=unit.device)
    other = torch.arange(2 * number, device=unit.device).roll(number)
    return F.cross_entropy(alike.masked_fill(itself, -torch.inf), other)


def _chance(seed: int, stream: str, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))
