"""What stands for texts as numbers: rows of TF-IDF, and how hard each text reads."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ltbench.errors import LTBenchError

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


def fitted(texts: Sequence[str], features: int) -> "TfidfVectorizer":
    """What makes rows of TF-IDF, with the words and document frequencies of these texts alone.

    Words are letters and digits, two or more, in lower case. The `features` that are most frequent
    count, of equally frequent ones the first by the alphabet, where scikit-learn's choice depends
    on how it sorts. A row is tf * (1 + ln((1 + N) / (1 + df))), of unit length.

    Raises:
        LTBenchError: no text has such a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyse = analyser()
    counts = Counter(word for text in texts for word in analyse(text))
    if not counts:
        raise LTBenchError("no training text has a word of two letters or more")
    chosen = sorted(counts, key=lambda word: (-counts[word], word))[:features]
    return TfidfVectorizer(vocabulary=sorted(chosen), dtype=np.float32).fit(texts)


def analyser() -> Callable[[str], list[str]]:
    """What finds the words of a text."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words: Callable[[str], list[str]] = TfidfVectorizer().build_analyzer()
    return words


def tfidf(vectorizer: "TfidfVectorizer", texts: Sequence[str]) -> Tensor:
    """The rows [N, words] of texts; a text without a known word is a row of zeros."""
    return torch.from_numpy(vectorizer.transform(texts).toarray())


def difficulty(texts: Sequence[str]) -> Tensor:
    """How hard each text [N] reads beside the others, from 0 to 1: the mean of two ranks.

    One is that of its words, the harder the lower the mean logarithm of how often they stand in all
    of the texts; the other that of its number of words, the harder the more. Equal ones share the
    mean of their ranks. A text without words has the lowest of both.
    """
    analyse = analyser()
    said = [analyse(text) for text in texts]
    counts = Counter(word for words in said for word in words)
    rare = [-_mean([math.log(counts[word]) for word in words]) for words in said]
    long = [float(len(words)) for words in said]
    return torch.from_numpy((ranked(rare) + ranked(long)) / 2).float()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.inf


def ranked(values: Sequence[float]) -> NDArray[np.float64]:
    """The ranks [N] of numbers, the least 0 and the largest 1; a single one has 0."""
    from scipy.stats import rankdata

    ranks: NDArray[np.float64] = rankdata(values) - 1
    return ranks / max(len(ranks) - 1, 1)
