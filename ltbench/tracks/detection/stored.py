"""Stored scores of a detector: what they are of, the truth beside them, and facts of training."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import LTBenchError
from ltbench.tracks.detection.boxes import Boxes, Floats, Integers
from ltbench.tracks.detection.contract import Head

OUTSIDE = 1.0  # pixels by which a box may stand out of its picture, as rounding has it


@dataclass(frozen=True)
class Facts:
    """What is told of the boxes to train on: centres [M, 2] from 0 to 1, labels [M], pictures [C]
    that show each class, and how many pictures there are."""

    locations: Floats
    labels: Integers
    images: Integers
    pictures: int


@dataclass(frozen=True)
class Stored:
    """Stored scores: `logits` [P, K] of proposals, of C classes, and the background after them for
    a softmax; boxes of the truth; `sizes` [I, 2] of the pictures, width and height."""

    classes: tuple[str, ...]
    head: Head
    logits: Floats
    proposals: Boxes
    truth: Boxes
    sizes: Floats
    facts: Facts
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<Stored scores of {len(self.proposals)} boxes in {len(self.sizes)} pictures, "
            f"{len(self.classes)} classes>"
        )

    @property
    def columns(self) -> int:
        """How many scores a proposal has."""
        return len(self.classes) + (self.head == "softmax")

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every value in its order."""
        told = f"{list(self.classes)} {self.head} {self.facts.pictures}"
        content = hashlib.sha256(told.encode())
        for array in (
            self.logits,
            *(part for boxes in (self.proposals, self.truth) for part in vars(boxes).values()),
            self.sizes,
            self.facts.locations,
            self.facts.labels,
            self.facts.images,
        ):
            content.update(f"{array.dtype} {array.shape}".encode())
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:16]

    def described(self) -> dict[str, Any]:
        """What is to be said of it."""
        return {
            "kind": "stored scores",
            "proposals": len(self.proposals),
            "pictures": len(self.sizes),
            "truth": len(self.truth),
            "head": self.head,
            "classes": list(self.classes),
            "class_counts": np.bincount(self.facts.labels, minlength=len(self.classes)).tolist(),
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }


def checked(called: str, stored: Stored) -> Stored:
    """The same scores, of which all parts fit each other.

    Raises:
        LTBenchError: names the part, the first row at fault and its value.
    """
    classes, logits, sizes = len(stored.classes), stored.logits, stored.sizes
    if classes < 2:
        raise LTBenchError(f"{called} has {classes} classes; two or more are ranked")
    if not len(stored.proposals):
        raise LTBenchError(f"{called} has no scored boxes")
    if logits.shape != (len(stored.proposals), stored.columns):
        raise LTBenchError(
            f"{called}: scores {list(logits.shape)} do not fit {len(stored.proposals)} boxes and a "
            f"{stored.head} over {classes} classes, which has {stored.columns} columns"
        )
    finite = np.isfinite(logits).all(axis=1)
    _refuse(~finite, called, "scored box", "a score that is no finite number", logits)
    if not len(stored.truth):
        raise LTBenchError(f"{called} has no boxes of the truth, so nothing can be right")
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise LTBenchError(f"{called}: sizes of pictures are {list(sizes.shape)}, not [N, 2]")
    there = (np.isfinite(sizes) & (sizes > 0)).all(axis=1)
    _refuse(~there, called, "picture", "a width or height that is not above 0", sizes)
    placed(called, "scored box", stored.proposals, sizes)
    placed(called, "box of the truth", stored.truth, sizes)
    labelled(called, "box of the truth", stored.truth.labels, classes)
    refuse_facts(called, stored.facts, stored.classes)
    return stored


def refuse_facts(called: str, facts: Facts, classes: tuple[str, ...]) -> None:
    """Refuses what is no fact of boxes to train on."""
    places, images = facts.locations, facts.images
    if not len(facts.labels):
        raise LTBenchError(f"{called} has no boxes to train on, of which methods are to know")
    if places.shape != (len(facts.labels), 2):
        raise LTBenchError(
            f"{called}: centres {list(places.shape)} to train on do not fit {len(facts.labels)} "
            "labels; state x and y of each"
        )
    labelled(called, "box to train on", facts.labels, len(classes))
    inside = ((places >= 0) & (places <= 1)).all(axis=1)
    fault = "a centre that is not from 0 to 1 across its picture"
    _refuse(~inside, called, "box to train on", fault, places)
    if images.shape != (len(classes),) or (images < 0).any():
        raise LTBenchError(
            f"{called}: training pictures {images.tolist()} are no number for each of "
            f"{len(classes)} classes"
        )
    most = int(images.argmax())
    if images[most] > facts.pictures:
        raise LTBenchError(
            f"{called}: class {classes[most]} is told to be in {images[most]} training pictures, "
            f"but there are {facts.pictures}"
        )


def placed(called: str, what: str, boxes: Boxes, sizes: Floats) -> None:
    """Refuses boxes in no picture, without extent, or outside of their picture."""
    corners = boxes.corners
    if corners.shape != (len(boxes), 4):
        raise LTBenchError(f"{called}: corners {list(corners.shape)} are not four a {what}")
    known = (boxes.pictures >= 0) & (boxes.pictures < len(sizes))
    _refuse(~known, called, what, "a picture that is not there", boxes.pictures)
    finite = np.isfinite(corners).all(axis=1)
    _refuse(~finite, called, what, "corners that are no finite numbers", corners)
    flat = (corners[:, 2:] <= corners[:, :2]).any(axis=1)
    _refuse(flat, called, what, "no width or no height", corners)
    out = (corners[:, :2] < -OUTSIDE).any(axis=1)
    out |= (corners[:, 2:] > sizes[boxes.pictures] + OUTSIDE).any(axis=1)
    fault = "corners outside of its picture (left, top, right, bottom, in pixels)"
    _refuse(out, called, what, fault, corners)


def labelled(called: str, what: str, labels: Integers, classes: int) -> None:
    """Refuses labels that are no class."""
    wrong = (labels < 0) | (labels >= classes)
    _refuse(wrong, called, what, f"a class not in 0..{classes - 1}", labels)


def _refuse(
    fails: NDArray[np.bool_] | np.bool_, called: str, what: str, fault: str, values: NDArray[Any]
) -> None:
    wrong = np.atleast_1d(fails)
    if wrong.any():
        row = int(wrong.argmax())
        told = np.array2string(values[row], precision=6, threshold=6, separator=", ")
        more = f" ({int(wrong.sum())} are)" if wrong.sum() > 1 else ""
        raise LTBenchError(f"{called}: {what} {row} has {fault}: {' '.join(told.split())}{more}")
