"""Phrases: texts of no language, drawn from a grammar with a fixed seed, as a synthetic control.

Ten topics stand in a ring. Each has two hundred stems, of which it shares one half with the topic
before and the other with the topic after, so that no stem tells a topic and neighbours are mixed
up. Other stems belong to none. Both are drawn by Zipf's law, in an order of each topic's own. What
share of a text is of its topic varies, and so does its length.
"""

import numpy as np
from numpy.typing import NDArray

TOPICS, TEXTS = 10, 300  # of each topic
SHARED, COMMON = 100, 1500  # stems of two neighbours, and of no topic
LEAST, MOST = 0.1, 0.7  # of the content words of a text are of its topic
SENTENCES = 4  # at most
PATTERNS = ("fnvfn", "fanv", "nvfnfan", "fnfnvan", "anvn", "fnvfanfn")
ENDINGS = {"n": "", "v": "r", "a": "sh"}  # of a stem as noun, verb and adjective
FUNCTION = ("ul", "an", "es", "ir", "om", "eth", "ak", "ov")
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


def stem(k: int) -> str:
    """The stem of a number, of two syllables; each has one of its own."""
    first, second = divmod(k, len(SYLLABLES))
    return SYLLABLES[first] + SYLLABLES[second]


def write() -> tuple[list[str], list[str]]:
    """The texts, and the topic of each; the same wherever they are written."""
    random = np.random.RandomState(0)
    stems = [stem(k) for k in random.permutation(len(SYLLABLES) ** 2)]
    common, ring = stems[:COMMON], np.arange(TOPICS * SHARED)
    texts, topics = [], []
    for topic in range(TOPICS):
        of_topic = random.permutation(np.roll(ring, -topic * SHARED)[: 2 * SHARED])
        own = [stems[COMMON + k] for k in of_topic]
        for _ in range(TEXTS):
            texts.append(_text(own, common, random))
            topics.append(f"topic {topic}")
    return texts, topics


def _text(own: list[str], common: list[str], random: np.random.RandomState) -> str:
    count = random.randint(1, SENTENCES + 1)
    slots = " ".join(PATTERNS[k] for k in random.randint(len(PATTERNS), size=count))
    share = LEAST + (MOST - LEAST) * random.random_sample()
    topical = random.random_sample(len(slots)) < share
    drawn = [zipf(len(some), len(slots), random) for some in (common, own)]
    little = random.randint(len(FUNCTION), size=len(slots))
    words = [
        ". "
        if slot == " "
        else FUNCTION[little[k]]
        if slot == "f"
        else (own if topical[k] else common)[drawn[int(topical[k])][k]] + ENDINGS[slot]
        for k, slot in enumerate(slots)
    ]
    return " ".join(words).replace(" . ", ".") + "."


def zipf(ranks: int, size: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """Draws [size] of ranks from 0 on, the k-th of which comes 1 / (k + 1) times as often."""
    sums = np.cumsum(1 / np.arange(1, ranks + 1))
    found: NDArray[np.int64] = np.searchsorted(sums, random.random_sample(size) * sums[-1])
    return found
