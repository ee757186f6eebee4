"""Stored scores from a user's own files: COCO's JSON in a folder, or arrays in one file."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from ltbench.contract.track import Finder
from ltbench.datasets import data_folder
from ltbench.errors import LTBenchError
from ltbench.texts import line, readable
from ltbench.tracks.detection.boxes import Boxes, Floats, Integers
from ltbench.tracks.detection.contract import Head
from ltbench.tracks.detection.stored import Facts, Stored, checked, placed

TRAIN, TEST, SCORED = "train.json", "test.json", "detections.json"
ARRAYS = (
    *("logits", "boxes", "images", "sizes", "truth_boxes", "truth_labels", "truth_images"),
    *("train_centres", "train_labels", "train_images", "train_pictures"),
)
OPTIONAL = ("classes", "head")
ABSENT = 1e-12  # the probability of a class of which a detection says nothing
WHOLE = 0.01  # by which the sum of a softmax may be off 1, as rounding has it
SURE = 1e-7  # from 0 and from 1, to which probabilities are held so that logits are finite


def stored_scores(registry: Finder, source: str) -> Stored:
    """The stored scores of a source: of a plugin, or files that are given or in the data folder.

    A folder holds COCO's JSON: `train.json` and `test.json` with images, annotations and
    categories, and `detections.json`, a list of image_id, category_id, bbox and score, or of
    image_id, bbox and scores, one for each category in the order of ids, with the background last
    if there is one more. An .npz file holds arrays; see `of_arrays`.

    Raises:
        LTBenchError: there is none, or something about the files is wrong; names it.
    """
    if source in registry.datasets_of_plugins():
        made: Stored = registry.dataset(source)()
        return checked(f"source {source}", made)
    place = Path(os.path.abspath(registry.data.get(source, data_folder() / source)))
    if not place.exists() and place.with_suffix(".npz").exists():
        place = place.with_suffix(".npz")
    if place.suffix == ".npz" and place.is_file():
        return of_arrays(place)
    if not (place / SCORED).is_file():
        raise LTBenchError(
            f"{source} is not at {readable(str(place))}: a folder with {TRAIN}, {TEST} and "
            f"{SCORED}, or an .npz file; give it with --data {source}=PATH"
        )
    return of_json(place)


def of_arrays(file: Path) -> Stored:
    """The arrays of an .npz file.

    `logits` [P, K], `boxes` [P, 4] (left, top, right, bottom) and `images` [P] are of proposals,
    `sizes` [I, 2] of pictures (width, height), whose places `images` count from 0; `truth_boxes`
    [T, 4], `truth_labels` [T] and `truth_images` [T]; of the boxes to train on `train_centres`
    [M, 2] from 0 to 1 and `train_labels` [M]; `train_images` [C] are the training pictures that
    show each class, `train_pictures` all of them. It may hold `classes` and `head`; without that a
    column more than classes is the background of a softmax.

    Raises:
        LTBenchError: something is missing, or does not fit.
    """
    called = readable(str(file))
    if not is_zipfile(file):
        raise LTBenchError(f"{called} is not an .npz file")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            held = {n: arrays[n] for n in (*ARRAYS, *OPTIONAL) if n in arrays.files}
    # What NumPy, zipfile and zlib raise over a damaged archive is anybody's guess.
    except Exception as error:
        raise LTBenchError(f"{called} cannot be read: {line(error)}") from None
    missing = [name for name in ARRAYS if name not in held]
    if missing:
        raise LTBenchError(f"{called} holds no {missing[0]}; it needs {', '.join(ARRAYS)}")
    for name in ARRAYS:
        if held[name].dtype.kind not in "buif":
            raise LTBenchError(f"{called}: {name} is {held[name].dtype}, no array of numbers")
    images = _integers(held["train_images"])
    names = [str(name) for name in np.ravel(held.get("classes", np.arange(len(images))))]
    logits, sizes = _matrix(called, held, "logits"), _matrix(called, held, "sizes", 2)
    return checked(
        called,
        Stored(
            tuple(names),
            _head(called, held, logits.shape[1], len(names)),
            logits,
            _boxes(called, held, "boxes", "images", None),
            _boxes(called, held, "truth_boxes", "truth_images", "truth_labels"),
            sizes,
            Facts(
                _matrix(called, held, "train_centres", 2),
                _integers(held["train_labels"]),
                images,
                int(np.ravel(held["train_pictures"])[0]),
            ),
        ),
    )


def _head(called: str, held: Mapping[str, NDArray[Any]], columns: int, classes: int) -> Head:
    told = str(held["head"]) if "head" in held else ""
    if told == "softmax" or (not told and columns == classes + 1):
        return "softmax"
    if told in ("sigmoid", ""):
        return "sigmoid"
    raise LTBenchError(f"{called}: head is {told[:40]!r}; it is 'softmax' or 'sigmoid'")


def _matrix(
    called: str, held: Mapping[str, NDArray[Any]], name: str, width: int | None = None
) -> Floats:
    found = held[name]
    if found.ndim != 2 or width not in (None, found.shape[1]):
        wanted = f"[N, {width or 'K'}]"
        raise LTBenchError(f"{called}: {name} is {list(found.shape)}, not {wanted}")
    return found.astype(np.float64)


def _integers(values: NDArray[Any]) -> Integers:
    found: Integers = np.nan_to_num(values, nan=-1, posinf=-1, neginf=-1).ravel().astype(np.int64)
    return found


def _boxes(
    called: str, held: Mapping[str, NDArray[Any]], name: str, images: str, labels: str | None
) -> Boxes:
    corners, pictures = _matrix(called, held, name, 4), _integers(held[images])
    told = np.full(len(corners), -1) if labels is None else _integers(held[labels])
    for other, values in ((images, pictures), (labels, told)):
        if len(values) != len(corners):
            raise LTBenchError(
                f"{called}: {other} has {len(values)} entries, but {name} {len(corners)}"
            )
    return Boxes(pictures, corners, told)


@dataclass(frozen=True)
class Annotated:
    """Annotations of a file: ids of categories with names, ids of pictures with sizes, boxes."""

    called: str
    categories: dict[int, str]
    pictures: list[int]
    sizes: Floats
    boxes: Boxes
    crowds: int


def of_json(folder: Path) -> Stored:
    """The annotations and detections of a folder; boxes of crowds are left out."""
    train, test = (annotated(folder / name) for name in (TRAIN, TEST))
    if train.categories != test.categories:
        raise LTBenchError(f"{readable(str(folder))}: {TRAIN} and {TEST} name other categories")
    classes = [*train.categories]
    head, scores, proposals = detections(folder / SCORED, classes, test)
    for called, boxes, sizes in (
        (train.called, train.boxes, train.sizes),
        (test.called, test.boxes, test.sizes),
        (readable(str(folder / SCORED)), proposals, test.sizes),
    ):
        placed(called, "box", boxes, sizes)
    facts = Facts(
        train.boxes.centres(train.sizes).clip(0, 1),
        train.boxes.labels,
        train.boxes.images(len(classes)),
        len(train.pictures),
    )
    notes = [
        f"{one.crowds} boxes of crowds in {name} are left out"
        for name, one in ((TRAIN, train), (TEST, test))
        if one.crowds
    ]
    names = tuple(train.categories.values())
    made = Stored(names, head, scores, proposals, test.boxes, test.sizes, facts, tuple(notes))
    return checked(readable(str(folder)), made)


def annotated(file: Path) -> Annotated:
    """The pictures, categories and boxes of a file of COCO's form.

    Raises:
        LTBenchError: names the entry and its value.
    """
    called, content = readable(str(file)), _json(file)
    if not isinstance(content, dict):
        raise LTBenchError(f"{called} is no object with images, annotations and categories")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise LTBenchError(f"{called} has no list {key!r}")
    if not content["images"]:
        raise LTBenchError(f"{called} has no images")
    told = sorted(
        (_id(called, "category", n, one, "id"), str(one.get("name", one["id"])))
        for n, one in enumerate(content["categories"])
    )
    pictures = [_id(called, "image", n, one, "id") for n, one in enumerate(content["images"])]
    for what, ids in (("category", [key for key, _ in told]), ("image", pictures)):
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise LTBenchError(f"{called}: {what} id {twice} stands there twice")
    sizes = _table(called, "image", content["images"], ("width", "height"))
    every = [_get(called, "annotation", n, one) for n, one in enumerate(content["annotations"])]
    kept = [one for one in every if not one.get("iscrowd")]
    where, which = _places(pictures), _places([key for key, _ in told])
    boxes = Boxes(
        _found(called, "annotation", kept, "image_id", where, "image"),
        _corners(called, "annotation", kept),
        _found(called, "annotation", kept, "category_id", which, "category"),
    )
    return Annotated(called, dict(told), pictures, sizes, boxes, len(every) - len(kept))


def detections(
    file: Path, categories: Sequence[int], test: Annotated
) -> tuple[Head, Floats, Boxes]:
    """The head of a detector, its logits [P, K] and its boxes.

    A detection with one `score` says nothing of other classes, which are as good as impossible; the
    head then is of sigmoids, as where `scores` are one for each category.

    Raises:
        LTBenchError: names the entry and its value.
    """
    called, content = readable(str(file)), _json(file)
    if not isinstance(content, list) or not content:
        raise LTBenchError(f"{called} is no list of detections")
    many = "scores" in _get(called, "detection", 0, content[0])
    pictures = _found(called, "detection", content, "image_id", _places(test.pictures), "image")
    boxes = Boxes(pictures, _corners(called, "detection", content), np.full(len(content), -1))
    classes = len(categories)
    if not many:
        label = _found(called, "detection", content, "category_id", _places(categories), "category")
        score = _probabilities(called, _table(called, "detection", content, ("score",)))
        scores = np.full((len(content), classes), ABSENT)
        scores[np.arange(len(content)), label] = score[:, 0].clip(SURE, 1 - SURE)
        return "sigmoid", np.log(scores) - np.log1p(-scores), boxes
    columns = {len(one.get("scores", ())) for one in content}
    if len(columns) > 1 or not columns <= {classes, classes + 1}:
        raise LTBenchError(
            f"{called}: scores are {sorted(columns)} a detection; state {classes}, one for each "
            f"category, or {classes + 1} with the background last"
        )
    told = _probabilities(called, _rows(called, "detection", content, "scores"))
    if columns == {classes}:
        held = told.clip(SURE, 1 - SURE)
        return "sigmoid", np.log(held) - np.log1p(-held), boxes
    wrong = np.abs(told.sum(axis=1) - 1) > WHOLE
    if wrong.any():
        number = int(wrong.argmax())
        raise LTBenchError(
            f"{called}: detection {number} has scores that sum to {told[number].sum():.3g}; those "
            "of all categories and the background sum to 1"
        )
    return "softmax", np.log(told.clip(ABSENT)), boxes


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        told = error.strerror or line(error)
        raise LTBenchError(f"{readable(str(file))} cannot be read: {told}") from None
    except (ValueError, RecursionError) as error:
        raise LTBenchError(f"{readable(str(file))} is not JSON: {line(error)}") from None


def _get(called: str, what: str, number: int, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise LTBenchError(f"{called}: {what} {number} is {line(entry, repr)}, no object")
    return entry


def _id(called: str, what: str, number: int, entry: Any, key: str) -> int:
    value = _get(called, what, number, entry).get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise LTBenchError(f"{called}: {what} {number} has {key} {line(value, repr)}, no integer")
    return value


def _found(
    called: str, what: str, entries: list[Any], key: str, known: Mapping[int, int], kind: str
) -> Integers:
    """The places of what entries name by their ids."""
    ids = [_id(called, what, n, entry, key) for n, entry in enumerate(entries)]
    places = np.array([known.get(one, -1) for one in ids], dtype=np.int64)
    if (places < 0).any():
        number = int((places < 0).argmax())
        raise LTBenchError(
            f"{called}: {what} {number} names {kind} {ids[number]}, which is not in its annotations"
        )
    return places


def _places(ids: Sequence[int]) -> dict[int, int]:
    return {one: place for place, one in enumerate(ids)}


def _corners(called: str, what: str, entries: list[Any]) -> Floats:
    """Corners [M, 4] of boxes that are told as left, top, width and height."""
    told = _rows(called, what, entries, "bbox", 4)
    return np.concatenate([told[:, :2], told[:, :2] + told[:, 2:]], axis=1)


def _rows(called: str, what: str, entries: list[Any], key: str, width: int | None = None) -> Floats:
    """Lists of numbers [M, width] of entries."""
    for number, entry in enumerate(entries):
        values = _get(called, what, number, entry).get(key)
        told = values if isinstance(values, list) else [None]
        fits = width in (None, len(told))
        if not fits or not all(isinstance(value, int | float) for value in told):
            wanted = f"a list of {width} numbers" if width else "a list of numbers"
            raise LTBenchError(
                f"{called}: {what} {number} has {key} {line(values, repr)}, not {wanted}"
            )
    return np.array([entry[key] for entry in entries], dtype=np.float64).reshape(
        len(entries), width or -1
    )


def _table(called: str, what: str, entries: list[Any], keys: Sequence[str]) -> Floats:
    """Numbers [M, keys] of entries."""
    for number, entry in enumerate(entries):
        for key in keys:
            value = _get(called, what, number, entry).get(key)
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise LTBenchError(
                    f"{called}: {what} {number} has {key} {line(value, repr)}, no number"
                )
    return np.array([[entry[key] for key in keys] for entry in entries], dtype=np.float64)


def _probabilities(called: str, scores: Floats) -> Floats:
    wrong = ~((scores >= 0) & (scores <= 1)).all(axis=1)
    if wrong.any():
        number = int(wrong.argmax())
        bad = scores[number][~((scores[number] >= 0) & (scores[number] <= 1))][0]
        raise LTBenchError(
            f"{called}: detection {number} has a score of {bad:g}; a score is from 0 to 1"
        )
    return scores
