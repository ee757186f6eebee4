"""Scores of a protocol's own detector as a file that stored scores are read from."""

from pathlib import Path

import numpy as np
import torch

from ltbench.datasets import Dataset
from ltbench.tracks.classification import Parts
from ltbench.tracks.detection.cutting import cut
from ltbench.tracks.detection.detector import detector_of, scores_of
from ltbench.tracks.detection.problem import Detection
from ltbench.tracks.detection.stored import Stored


def stored_of(protocol: Detection, dataset: Dataset, seed: int, device: torch.device) -> Stored:
    """What the detector of a seed says of its test scenes, with their truth: no method is there.

    Raises:
        LTBenchError: the data do not fit the protocol, or a detector that was kept is damaged.
    """
    assert protocol.scenes is not None
    data = cut(protocol, dataset, seed)
    parts = Parts(data.train, None, lambda: data.train, [*data.counts, 0])
    run, _ = detector_of(protocol, parts, seed, device)
    logits = scores_of(run, data.asked.to(device)).double().cpu().numpy()
    sizes = np.full((data.pictures, 2), float(protocol.scenes.side))
    told = data.told
    return Stored(dataset.classes, told.head, logits, data.proposals, data.truth, sizes, told.facts)


def write(file: Path, stored: Stored) -> str:
    """Writes stored scores as an .npz file for `files.of_arrays`; gives their fingerprint."""
    facts = stored.facts
    np.savez_compressed(
        file,
        logits=stored.logits,
        boxes=stored.proposals.corners,
        images=stored.proposals.pictures,
        sizes=stored.sizes,
        truth_boxes=stored.truth.corners,
        truth_labels=stored.truth.labels,
        truth_images=stored.truth.pictures,
        train_centres=facts.locations,
        train_labels=facts.labels,
        train_images=facts.images,
        train_pictures=np.array(facts.pictures),
        classes=np.array(stored.classes),
        head=np.array(stored.head),
    )
    return stored.fingerprint
