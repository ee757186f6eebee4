"""Where texts come from: the track's own sources, and files of the user's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset, data_folder
from ltbench.datasets.delimited import decoded, grid
from ltbench.errors import LTBenchError, UnknownName
from ltbench.texts import composed, line, readable
from ltbench.tracks.language import bbc, phrases
from ltbench.tracks.language.problem import Texts

Written = tuple[list[str], list[str]]
"""Texts, and the class of each."""

SOURCES: Mapping[str, Callable[[], Written]] = {"bbc-news": bbc.read, "phrases": phrases.write}


@dataclass(frozen=True)
class Corpus(Dataset):
    """Rows that stand for `texts`: their inputs are hashes, their groups places among these.

    `vectors` [N, D] are those of the texts, where a protocol has such.
    """

    texts: tuple[str, ...] = ()
    vectors: Tensor | None = None

    def of(self, dataset: Dataset) -> "Corpus":
        """Some of the rows, as what chooses rows of any data set gives them."""
        kept = dataset.train, dataset.classes, dataset.test, dataset.fingerprint, dataset.notes
        return Corpus(*kept, texts=self.texts, vectors=self.vectors)

    def said(self, rows: Rows) -> list[str]:
        """The texts of rows."""
        return [self.texts[place] for place in _places(rows).tolist()]

    def vectors_of(self, rows: Rows) -> Tensor:
        """The vectors [N, D] of rows."""
        assert self.vectors is not None
        return self.vectors[_places(rows)]


def _places(rows: Rows) -> Tensor:
    assert rows.groups is not None
    return rows.groups


def file_of(given: Mapping[str, str | Path], source: str) -> Path | None:
    """The file that a source is, as given by that name or in the data folder; None for one of the
    track's own.

    Raises:
        LTBenchError: there is none.
    """
    if source in SOURCES:
        if source in given:
            raise LTBenchError(f"data {source}={given[source]} takes the name of a known data set")
        return None
    path = Path(given[source]) if source in given else data_folder() / f"{source}.csv"
    if source not in given and not path.is_file():
        raise UnknownName("source of texts", source, SOURCES, f"--data {source}=FILE.csv names one")
    return path


def of_file(path: Path, how: Texts) -> Written:
    """The texts of a delimited file that names its columns, and their classes.

    Raises:
        LTBenchError: it cannot be read, lacks a column, or has a text or a class that is empty.
    """
    called = readable(str(path))
    try:
        found = grid(decoded(path.read_bytes(), how.encoding), how.separator, header=True)
    except OSError as error:
        raise LTBenchError(f"texts {called} cannot be read: {error.strerror}") from None
    except LTBenchError as error:
        raise LTBenchError(f"texts {called}: {error}") from None
    for key, column in (("column", how.column), ("label", how.label)):
        if column not in found.names:
            raise LTBenchError(
                f"texts {called} have no column {column!r}, but {', '.join(found.names)}; say "
                f"which it is as {key} in [texts]"
            )
    places = [found.names.index(column) for column in (how.column, how.label)]
    texts, labels = ([row[k] for row in found.rows] for k in places)
    for what, words in ((how.column, texts), (how.label, labels)):
        empty = next((k for k, word in enumerate(words, 1) if not word.strip()), None)
        if empty is not None:
            raise LTBenchError(f"texts {called}: row {empty} has an empty {what}; leave it out")
    return texts, [composed(label.strip()) for label in labels]


def vectors_of(given: Mapping[str, str | Path], name: str, texts: int) -> Tensor:
    """The vectors [N, D] of a file, as given by a name or in the data folder."""
    path = Path(given[name]) if name in given else data_folder() / Path(name).expanduser()
    return of_vectors(path, texts)


def of_vectors(path: Path, texts: int) -> Tensor:
    """The vectors [N, D] of a file .npy or .npz, one for each of so many texts, in their order.

    Raises:
        LTBenchError: it cannot be read, or holds something else.
    """
    called = readable(str(path))
    try:
        held = np.load(path, allow_pickle=False)
        if is_zipfile(path):
            with held as arrays:
                if len(arrays.files) != 1:
                    raise LTBenchError(f"it holds {len(arrays.files)} arrays, not one")
                held = arrays[arrays.files[0]]
    # What NumPy, zipfile and zlib raise over a file that is none is anybody's guess.
    except Exception as error:
        raise LTBenchError(f"vectors {called} cannot be read: {line(error)}") from None
    if held.ndim != 2 or held.dtype.kind not in "fiu" or not held.shape[1]:
        raise LTBenchError(f"vectors {called} are {held.dtype} {list(held.shape)}, not rows [N, D]")
    if len(held) != texts:
        raise LTBenchError(f"vectors {called} are {len(held)}, but there are {texts} texts")
    return _single(called, held)


def _single(called: str, held: NDArray[np.number]) -> Tensor:
    with np.errstate(over="ignore"):
        vectors = held.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise LTBenchError(f"vectors {called}: that of text {wrong[0] + 1} is not finite")
    return torch.from_numpy(vectors)


def corpus_of(
    source: str,
    texts: list[str],
    labels: list[str],
    words: int | None,
    vectors: Tensor | None = None,
) -> Corpus:
    """Rows of the texts, cut to their first words; of texts that then read alike the first stays.

    Those that read alike in two classes are left out, as nobody could tell these apart.

    Raises:
        LTBenchError: there are fewer than two classes.
    """
    read = [" ".join(text.split()[:words]) for text in texts]
    of: dict[str, set[str]] = {}
    for text, label in zip(read, labels, strict=True):
        of.setdefault(text, set()).add(label)
    first = {text: k for k, text in reversed([*enumerate(read)])}
    kept = [k for k, text in enumerate(read) if first[text] == k and len(of[text]) == 1]
    torn = sum(len(of[text]) > 1 for text in read)
    classes = sorted({labels[k] for k in kept})
    if len(classes) < 2:
        raise LTBenchError(f"texts {source} are all of class {classes[0] if classes else 'none'}")
    again = len(texts) - torn - len(kept)
    told = [
        f"{again} texts of {source} that read as an earlier one were left out" if again else "",
        f"{torn} texts of {source} that read alike in two classes were left out" if torn else "",
    ]
    chosen = tuple(read[k] for k in kept)
    made = Corpus(
        Rows(
            torch.tensor([list(sha256(text.encode()).digest()) for text in chosen]).byte(),
            torch.tensor([classes.index(labels[k]) for k in kept]),
            groups=torch.arange(len(kept)),
        ),
        tuple(classes),
        notes=tuple(filter(None, told)),
        texts=chosen,
    )
    if vectors is None:
        return made
    chosen_vectors = vectors[kept]
    return with_vectors(made, chosen_vectors, chosen_vectors.numpy().tobytes())


def with_vectors(made: Corpus, vectors: Tensor, told: bytes) -> Corpus:
    """The corpus with vectors [N, D] of its texts; the fingerprint is of these and what is `told`
    of the vectors."""
    content = sha256(made.fingerprint.encode() + told).hexdigest()
    return replace(made, vectors=vectors, checksum=content[:16])
