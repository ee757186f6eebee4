"""A protocol that fits stored scores of a user's own detector."""

from pathlib import Path
from string import Template
from zipfile import BadZipFile, ZipFile

import numpy as np

from ltbench.contract.track import Proposal
from ltbench.protocols.writing import shot_borders, shot_groups, toml
from ltbench.tracks.detection.files import SCORED, of_arrays, of_json

TEMPLATE = Path(__file__).parent / "scaffolds" / "own_data.toml.txt"
USUAL_MOST = 100  # boxes of a picture, as COCO has it


def propose(name: str, path: Path) -> Proposal | None:
    """A protocol for a folder with detections in COCO's form, or arrays with boxes.

    Raises:
        LTBenchError: something about them is wrong.
    """
    if not _holds_boxes(path):
        return None
    stored = of_json(path) if path.is_dir() else of_arrays(path)
    images = stored.facts.images.tolist()
    borders = shot_borders(images)
    most = int(np.bincount(stored.proposals.pictures).max())
    values = {
        "name": toml(name),
        "description": toml(
            f"Stored scores of {len(stored.proposals)} boxes in {len(stored.sizes)} pictures, "
            f"{len(stored.classes)} classes."
        ),
        "fingerprint": toml(stored.fingerprint),
        "regime": f"{min(images)} to {max(images)} training pictures a class",
        "most": str(min(USUAL_MOST, most)),
        "metrics": toml(["ap", *shot_groups(images, borders), "average_recall"]),
        "borders": toml(borders),
    }
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values)
    return Proposal(stored.described(), text)


def _holds_boxes(path: Path) -> bool:
    if path.is_dir():
        return (path / SCORED).is_file()
    try:
        with ZipFile(path) as packed:
            return "truth_boxes.npy" in packed.namelist()
    except (OSError, BadZipFile):
        return False
