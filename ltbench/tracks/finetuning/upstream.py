"""Upstream models: trained by the protocol before anything else, or read from files of weights."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from msgspec import structs
from torch import Tensor, nn

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method
from ltbench.protocols.schema import Budget
from ltbench.tracks import kept_networks
from ltbench.tracks.classification import Parts, begin
from ltbench.tracks.finetuning import weights
from ltbench.tracks.finetuning.problem import Finetuning
from ltbench.tracks.kept_networks import digest
from ltbench.training import events
from ltbench.training.engine import stream_seed, train

KIND = "backbones"
KEPT = 2  # sets of networks in a process, so that the recipes of a seed share theirs

Networks = tuple[nn.Module, ...]


@dataclass(frozen=True)
class Beside:
    """What a cell is given beside rows to learn: the `rows` of each upstream model that is to be
    trained, or the `files` of those that are read."""

    rows: tuple[Rows, ...]
    files: tuple[Path, ...] = ()


def obtained(
    protocol: Finetuning, parts: Parts, beside: Beside, seed: int, device: torch.device
) -> tuple[Networks, list[str]]:
    """The upstream models of a cell in evaluation mode, not to be changed, and a hash of each: of
    the weights of one that was trained, of the file that another was read from.

    Raises:
        LTBenchError: what is kept is damaged, or a file of weights does not fit.
    """
    if protocol.upstream is not None:
        trained = Trained(protocol, beside.rows, seed, device)()
        return trained, [digest(network) for network in trained]
    networks, hashes = [], []
    for path, pretrained in zip(beside.files, protocol.pretrained, strict=True):
        state, found = weights.read(path, pretrained)
        network = begin(protocol, parts, seed, device).model
        assert network is not None
        networks.append(weights.put(network, state, f"weights {path}").eval().requires_grad_(False))
        hashes.append(found[:16])
    return tuple(networks), hashes


@dataclass(frozen=True)
class Trained:
    """Upstream models, trained plainly; the last epoch counts.

    They depend on what the key is made of alone, so cells share them: in the process, and on disk,
    where their name tells the hash of their weights.
    """

    protocol: Finetuning
    rows: tuple[Rows, ...]
    seed: int
    device: torch.device

    def __call__(self) -> Networks:
        """The networks in evaluation mode; they are not to be changed.

        Raises:
            LTBenchError: kept ones are damaged.
        """
        key = self.key()
        if key not in _networks:
            while len(_networks) >= KEPT:
                del _networks[next(iter(_networks))]
            with kept_networks.alone(KIND, key):
                _networks[key] = self._read(key) or self._train(key)
        return _networks[key]

    def key(self) -> str:
        """A hash of all that decides the weights: rows, network, training, seed, code, machine."""
        plain = self.protocol
        told = [plain.network, plain.upstream, plain.compute, plain.data.mean, plain.data.std]
        every: list[Tensor] = [*chain(*((rows.inputs, rows.labels) for rows in self.rows))]
        return kept_networks.key_of(plain, self.device, [*told, self.seed], every)

    def _fresh(self, k: int) -> Run:
        protocol, rows = self.protocol, self.rows[k]
        upstream = structs.replace(protocol, budget=budget_of(protocol))
        counts = rows.labels.bincount(minlength=int(rows.labels.max()) + 1).tolist()
        parts = Parts(rows, None, lambda: rows, counts)
        return begin(upstream, parts, stream_seed(self.seed, f"upstream {k}"), self.device)

    def _train(self, key: str) -> Networks:
        models = []
        for k, rows in enumerate(self.rows):
            run, batch_size = self._fresh(k), budget_of(self.protocol).batch_size
            with events.heard_by(None):
                models.append(train(Method(), rows.to(self.device), run, batch_size))
        kept_networks.write(KIND, key, models)
        return tuple(models)

    def _read(self, key: str) -> Networks | None:
        fresh = [self._fresh(k).model for k in range(len(self.rows))]
        models = [model for model in fresh if model is not None]
        if kept_networks.read(KIND, key, models) is None:
            return None
        return tuple(model.eval().requires_grad_(False) for model in models)


def budget_of(protocol: Finetuning) -> Budget:
    """The training upstream of a protocol that has one."""
    assert protocol.upstream is not None
    return protocol.upstream.budget


_networks: dict[str, Networks] = {}
