"""Language: train a network on rows that stand for texts, score it on texts to test on."""

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import cache, partial

import torch

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import hooks
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer, Asked, Divided, Finder, Outcome, undivided
from ltbench.datasets import Dataset
from ltbench.tracks import classification, holding
from ltbench.tracks.classification import (
    Parts,
    recalls_of,
    refuse_adapting,
    refuse_foreign,
    refuse_needs,
    split,
    time_plain,
)
from ltbench.tracks.dividing import Given, asked
from ltbench.tracks.language import minilm
from ltbench.tracks.language.contract import DIFFICULTY, LanguageGrants
from ltbench.tracks.language.problem import Language
from ltbench.tracks.language.reading import (
    SOURCES,
    Corpus,
    corpus_of,
    file_of,
    of_file,
    vectors_of,
    with_vectors,
)
from ltbench.tracks.language.rows import difficulty, fitted, tfidf
from ltbench.tracks.learning import learned
from ltbench.training.engine import answered

SUPPLIES = frozenset({DIFFICULTY})
REMAKING = frozenset({"resample", "enter"})  # hooks that hand back rows


def load(registry: Finder, protocol: Language) -> dict[str, Dataset]:
    """The protocol's one source.

    Raises:
        LTBenchError: it cannot be had, or is not as declared.
    """
    source, how = protocol.data.source, protocol.texts
    path = file_of(registry.data, source)
    texts, labels = SOURCES[source]() if path is None else of_file(path, how)
    given = None
    if how.vectors is not None and how.vectors != minilm.NAME:
        given = vectors_of(registry.data, how.vectors, len(texts))
    made = corpus_of(source, texts, labels, how.words, given)
    if path is None:
        made = replace(made, notes=())  # the documents tell them
    if how.vectors == minilm.NAME:
        # bits of vectors differ between machines, those of weights do not
        made = with_vectors(made, minilm.encoded(made.texts), minilm.SHA256.encode())
    holding.refuse_broken(f"data set {source}", holding.broken(made, protocol.data.holds))
    classes = protocol.data.classes
    return {"": made.of(made.of_classes(classes)) if classes else made}


def maker(protocol: Language, corpus: Corpus, train: Rows) -> Callable[[Rows], Rows]:
    """What makes numbers of rows that stand for texts; of all it knows the training texts alone."""
    if protocol.texts.vectors is not None:
        return lambda rows: Rows(corpus.vectors_of(rows), rows.labels)
    vectorizer = fitted(corpus.said(train), protocol.texts.features)
    return lambda rows: Rows(tfidf(vectorizer, corpus.said(rows)), rows.labels)


def of_numbers(protocol: Language, corpus: Corpus, seed: int) -> Parts:
    """The parts of a cell, as numbers."""
    parts = split(protocol, corpus, seed)
    made = maker(protocol, corpus, parts.train)
    aside = None if parts.validation is None else made(parts.validation)
    return Parts(made(parts.train), aside, lambda: made(parts.test()), parts.class_counts)


def plan(protocol: Language, sources: Mapping[str, Corpus], device: torch.device) -> None:
    """Makes sure that cells can begin.

    Raises:
        LTBenchError: the protocol does not fit its data.
    """
    parts = of_numbers(protocol, sources[""], 0)
    classification.begin(protocol, parts, 0, torch.device("cpu"))


def seconds(protocol: Language, corpus: Corpus, device: torch.device) -> float:
    """About what a cell of plain training takes here, measured for a moment."""
    plain = partial(time_plain, protocol, of_numbers(protocol, corpus, 0), 0, device)
    return classification.seconds_of(plain, protocol, device)


def divide(protocol: Language, seed: int, corpus: Corpus, needs: Set[str] = frozenset()) -> Divided:
    """The data of a cell: rows to train on with their difficulty, test rows to be asked, labels."""
    parts, classes = of_numbers(protocol, corpus, seed), len(corpus.classes)
    test = cache(parts.test)
    paper = cache(lambda: asked(test(), seed))

    def mark(answer: Answer) -> Outcome:
        place = paper()[1]
        scored, predictions = classification.score(
            protocol, parts, test().labels, answer.scores[place], answer.predicted[place]
        )
        return Outcome(
            measures=dict(scored),
            timing=answer.timing,
            recall=recalls_of(predictions.labels, predictions.predicted, classes),
            class_counts=parts.class_counts,
            arrays=predictions.arrays(classes),
            notes=answer.notes,
            continued=answer.continued,
            stage=answer.stage,
        )

    hard = difficulty(corpus.said(split(protocol, corpus, seed).train))
    given = Given(parts.train, parts.validation, parts.class_counts, classes, hard)
    return Divided(given, lambda: paper()[0], mark, classes)


def begin(
    protocol: Language, parts: Parts, granted: LanguageGrants, seed: int, device: torch.device
) -> Run:
    """A run at its start."""
    run = classification.begin(protocol, parts, seed, device)
    run.granted = granted
    return run


def answer(
    protocol: Language,
    recipe: Recipe,
    seed: int,
    given: Given,
    ask: Callable[[], Asked],
    device: torch.device,
) -> Answer:
    """Trains on what was given, then says what test rows are."""
    refuse_unmet(protocol, recipe, given.classes)
    parts = given.parts
    granted = LanguageGrants(difficulty=None if remakes(recipe) else given.beside.to(device))
    begins = partial(begin, protocol, parts, granted, seed, device)
    plain = partial(time_plain, protocol, parts, seed, device)
    made = learned(protocol, recipe, parts, begins, plain)

    inputs = ask().inputs.to(device)
    every = torch.arange(len(inputs), device=device)
    scores, predicted = answered(recipe, made.model, inputs, every, made.run)
    return made.answer(scores, predicted)


def refuse_unmet(protocol: Language, recipe: Recipe, num_classes: int) -> None:
    """Refuses, by name, what the track would pass over in silence.

    Raises:
        Unmet: a need is not met, or a method acts on another kind of model.
    """
    refuse_foreign(protocol, recipe)
    refuse_adapting(protocol, recipe)
    supplied = frozenset() if remakes(recipe) else SUPPLIES
    refuse_needs(protocol, recipe, supplied | ({"two_classes"} if num_classes == 2 else set()))


def remakes(recipe: Recipe) -> bool:
    """Whether a method may put other rows in the place of those that stand for texts."""
    return any(REMAKING & {*hooks(type(method))} for method in recipe.methods)


run = undivided(divide, answer)
