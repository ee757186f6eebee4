"""The detector of a protocol with scenes: trained plainly on windows, once for all of a seed."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from ltbench.contract.context import PREDICTED_AT_ONCE, Run
from ltbench.contract.method import Method
from ltbench.protocols.schema import Classification
from ltbench.tracks import classification, kept_networks
from ltbench.tracks.classification import Parts
from ltbench.tracks.detection.problem import Detection, of_windows
from ltbench.tracks.kept_networks import digest
from ltbench.training import events
from ltbench.training.engine import forward, train

KIND = "detectors"


class EachAlone(Method):
    """A sigmoid for each class but the last, which is the background: the sum of their losses."""

    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        classes = scores.shape[1]
        told = one_hot(labels, classes + 1)[:, :classes].to(scores)
        return binary_cross_entropy_with_logits(scores, told, reduction="none").sum(dim=1)


def begin(protocol: Detection, parts: Parts, seed: int, device: torch.device) -> Run:
    """A run of the detector at its start; the last class is the background."""
    outputs = len(parts.class_counts) - (protocol.head == "sigmoid")
    return classification.begin(of_windows(protocol), parts, seed, device, outputs)


def plain_of(protocol: Detection) -> Method:
    """What plain training of the protocol's head is."""
    return EachAlone() if protocol.head == "sigmoid" else Method()


def detector_of(
    protocol: Detection, parts: Parts, seed: int, device: torch.device
) -> tuple[Run, str]:
    """The trained detector as the model of a run, and a hash of its weights.

    It depends on protocol, windows and seed alone, so the cells of a seed share it on disk.

    Raises:
        LTBenchError: one that was kept is damaged.
    """
    run = begin(protocol, parts, seed, device)
    network = cast(nn.Module, run.model)
    rows, windows = parts.train, of_windows(protocol)
    told: list[Any] = [windows.network, windows.budget, windows.data.mean, windows.data.std]
    key = kept_networks.key_of(
        cast(Classification, windows),
        device,
        [*told, protocol.head, seed],
        [rows.inputs, rows.labels],
    )
    with kept_networks.alone(KIND, key):
        if kept_networks.read(KIND, key, [network]) is None:
            with events.heard_by(None):
                budget = windows.budget.batch_size
                network = train(plain_of(protocol), rows.to(device), run, budget)
            kept_networks.write(KIND, key, [network])
    network.eval().requires_grad_(False)
    run.model = network
    return run, digest(network)


@torch.no_grad()
def scores_of(run: Run, windows: Tensor) -> Tensor:
    """The logits [P, K] that the detector gives to stored windows [P, ...]."""
    assert run.model is not None
    parts = windows.split(16 * PREDICTED_AT_ONCE)
    return torch.cat([forward(run.model, run.plain(part), run).heads[0] for part in parts])
