"""Tuning: the settings that are tried of a recipe, which of them is chosen, and what is left."""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from msgspec import structs

from ltbench.contract.method import Method, values
from ltbench.contract.recipes import Recipe, make
from ltbench.contract.spaces import Space, require_sound
from ltbench.contract.track import Track
from ltbench.errors import LTBenchError
from ltbench.protocols.schema import Protocol
from ltbench.registry.discovery import core_code
from ltbench.registry.registry import Registry
from ltbench.results import records, studies
from ltbench.results.records import Record, same_code
from ltbench.results.studies import Study
from ltbench.running.plan import RESULTS, Plan, planned
from ltbench.running.request import seeds_of, whole
from ltbench.validation import parameters

MOST_DRAWN = 2**16  # points of a sequence, among which a finite space may repeat itself


@dataclass(frozen=True)
class Tuning:
    """What is tuned: a study of each recipe, on a protocol, with seeds of it.

    `folder` holds the trials, records of the protocol `trials`, and the cells of what was chosen.
    `remarks` are what is to be known beforehand.
    """

    registry: Registry
    track: Track[Any]
    protocol: Protocol
    trials: Protocol
    studies: list[Study]
    seeds: list[int]
    results: Path
    folder: Path
    remarks: list[str]

    def write(self) -> None:
        """Writes the studies, each whole; one that is there of the same trials keeps other seeds.

        Raises:
            LTBenchError: the folder cannot be written, or a file there is no study.
        """
        for study in self.studies:
            path = studies.place_of(self.folder, study.recipe)
            before = studies.read(path) if path.exists() else None
            if before is not None and structs.replace(before, drawn=study.drawn) == study:
                study = structs.replace(study, drawn={**before.drawn, **study.drawn})
            studies.write(self.folder, study)

    def trying(self, **asked: Any) -> Plan:
        """The cells of all trials; `asked` is as in `planned`.

        Raises:
            LTBenchError: as there.
        """
        drawn = {
            seed: [text for study in self.studies for text in study.drawn[str(seed)]]
            for seed in self.seeds
        }
        return self._planned(self.trials, lambda seed, table: drawn[seed], asked)

    def testing(self, **asked: Any) -> Plan:
        """The cells of what was chosen, once all trials have been, and of defaults that the records
        of the protocol lack.

        Raises:
            LTBenchError: as in `planned`.
        """
        wanted: dict[tuple[int, str], list[str]] = {}
        for study in self.studies:
            for choice in choices(self.track, self.trials, study, self.folder):
                place = choice.seed, choice.table
                told = (study.recipe, *choice.chosen) if choice.complete else ()
                lacking = [text for text in told if self._lacks(text, *place)]
                wanted.setdefault(place, []).extend(lacking)
        return self._planned(self.protocol, lambda *place: wanted.get(place, []), asked)

    def _planned(
        self, protocol: Protocol, texts: Callable[[int, str], Sequence[str]], asked: dict[str, Any]
    ) -> Plan:
        composed = cache(self.registry.recipe)

        def recipes(seed: int, table: str) -> list[Recipe]:
            return [composed(text) for text in texts(seed, table)]

        return planned(self.registry, protocol, self.seeds, recipes, self.folder, **asked)

    def _lacks(self, recipe: str, seed: int, table: str) -> bool:
        """Whether a cell is not among the protocol's own records, or is of other code."""
        found = tested(self.track, self.protocol, self.results, recipe, seed, table)
        if found is None:
            return True
        own = core_code(self.track.modules(self.protocol))
        alike = found.environment.get("code") in (None, own)
        now = self.registry.origins(self.registry.recipe(recipe))
        return not (alike and same_code(found.plugins, now))


def tuning(
    registry: Registry,
    protocol_name: str | Path | Protocol,
    recipes: Sequence[str | Method] = (),
    number: int = 16,
    seeds: Any = None,
    results: Path = RESULTS,
) -> Tuning:
    """What it takes to tune recipes with so many trials each, for every seed anew.

    Without recipes they are those of the protocol that have something to tune; plain training comes
    first, whatever is asked for.

    Raises:
        LTBenchError: a recipe has nothing to tune, its space is unsound, or there are no trials.
    """
    number = whole("trials", number)
    if number < 1:
        raise LTBenchError(f"{number} trials choose nothing; at least 1 is needed, the default")
    protocol = registry.protocol(protocol_name)
    track = registry.track(protocol.track)
    if not track.tunes or protocol.trial_share:
        raise LTBenchError(
            f"{protocol.name}: track {track.name} runs no trials, so nothing can be tuned"
            if not track.tunes
            else f"{protocol.name} is a protocol of trials itself; tune what they are of"
        )
    bases = [registry.recipe(one) for one in recipes]
    for base in bases:
        if not spaces_of(base):
            raise LTBenchError(
                f"{base.text} has an empty search space: nothing of it can be tuned; leave it out, "
                f"or tune it with learning rate and weight decay as {base.text}+{track.plain}"
            )
    if not bases:
        every = map(registry.recipe, protocol.recipes)
        bases = [base for base in every if spaces_of(base)]
    bases = [registry.recipe(track.plain), *bases]
    chosen = seeds_of(seeds, protocol.seeds)
    trials = of_trials(protocol)
    drawn = [study_of(base, trials, number, chosen) for base in {b.text: b for b in bases}.values()]
    remarks = [
        f"{study.recipe}: its space has {most} settings; all of them are tried, not {number}"
        for study in drawn
        for most in [max(map(len, study.drawn.values()))]
        if most < number
    ]
    folder = studies.folder_of(results, protocol.name)
    return Tuning(registry, track, protocol, trials, drawn, chosen, results, folder, remarks)


def of_trials(protocol: Protocol) -> Protocol:
    """The protocol of a protocol's trials."""
    share = protocol.tuning_share
    return structs.replace(
        protocol,
        name=f"{protocol.name}-{studies.FOLDER}",
        trial_share=share,
        description=f"Trials of {protocol.name}: {100 * share:g} % of each class's training rows "
        "are put aside and scored in place of the test rows.",
        contrasts=(),
    )


def spaces_of(recipe: Recipe) -> dict[tuple[int, str], Space]:
    """What is tuned of a recipe, by the place of the method and the parameter: all of which its
    methods say that it is worth tuning, and that the recipe leaves at its default.

    Raises:
        LTBenchError: a space is unsound.
    """
    return {
        (place, name): space
        for place, method in enumerate(recipe.methods)
        for name, space in require_sound(type(method)).items()
        if getattr(method, name) == parameters(type(method))[name]
    }


def study_of(recipe: Recipe, trials: Protocol, number: int, seeds: Iterable[int]) -> Study:
    """The settings of a recipe that are tried, others for each seed; more of them begin alike."""
    spaces = spaces_of(recipe)
    told = {f"{recipe.methods[k].name}.{name}": repr(one) for (k, name), one in spaces.items()}
    drawn = {str(seed): settings(recipe, spaces, number, seed) for seed in seeds}
    return Study(
        protocol=trials.name,
        hash=trials.hash,
        recipe=recipe.text,
        trials=number,
        space=told,
        drawn=drawn,
    )


def settings(
    recipe: Recipe, spaces: Mapping[tuple[int, str], Space], number: int, seed: int
) -> list[str]:
    """So many settings of a recipe, or all that there are: itself, then draws of the seed's."""
    drawn = {recipe.text: None}
    sizes = [space.size for space in spaces.values()]
    size = math.prod(one for one in sizes if one is not None) if None not in sizes else None
    for point in _points(recipe.text, spaces, seed, all_of=size is not None and size <= number):
        if len(drawn) == number:
            break
        drawn[_set(recipe, dict(zip(spaces, point, strict=True))).text] = None
    return [*drawn]


def _points(
    text: str, spaces: Mapping[tuple[int, str], Space], seed: int, all_of: bool
) -> Iterator[Sequence[Any]]:
    """Values of all parameters: each combination once, or along a scrambled Sobol sequence.

    Raises:
        LTBenchError: there are more parameters than such a sequence has dimensions.
    """
    if all_of:
        every = [
            [one.at((k + 0.5) / (one.size or 1)) for k in range(one.size or 1)]
            for one in spaces.values()
        ]
        yield from itertools.product(*every)
        return
    import numpy as np
    from scipy.stats import qmc

    key = hashlib.sha256(f"{text} {seed}".encode()).digest()[:8]
    sequence = qmc.Sobol(len(spaces), seed=np.random.default_rng(int.from_bytes(key, "big")))
    drawn, block = 0, 1
    while drawn < MOST_DRAWN:
        for point in sequence.random(block).tolist():
            yield [space.at(u) for space, u in zip(spaces.values(), point, strict=True)]
        drawn += block
        block = drawn


def _set(recipe: Recipe, point: Mapping[tuple[int, str], Any]) -> Recipe:
    """A recipe with other values of some parameters."""
    made = []
    for place, method in enumerate(recipe.methods):
        own = {name: value for (at, name), value in point.items() if at == place}
        made.append(make(type(method), {**_given(method), **own}))
    return Recipe(*made)


def _given(method: Method) -> dict[str, Any]:
    """The parameters of a method that are not at their default."""
    usual = parameters(type(method))
    return {name: value for name, value in values(method).items() if value != usual[name]}


@dataclass(frozen=True)
class Choice:
    """What the trials of one seed, on one table, came to.

    `scores` [trials][parts] are turned so that more is better, -inf of a trial that failed or
    diverged and None of one that has not been; the best of each part is chosen, of equals the
    earlier. `work` are the seconds of all trials, `reason` is why the first that failed did.
    """

    seed: int
    table: str
    settings: list[str]
    scores: list[list[float] | None]
    failed: int
    work: float
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether all trials have been, and one of them came to something."""
        return None not in self.scores and any(max(one) > -math.inf for one in self.scores if one)

    @cached_property
    def best(self) -> list[int]:
        """The trial that is chosen for each part."""
        there = [one for one in self.scores if one is not None]
        return [of_part.index(max(of_part)) for of_part in zip(*there, strict=True)]

    @property
    def chosen(self) -> list[str]:
        """The setting that is chosen for each part."""
        return [self.settings[k] for k in self.best]


def choices(track: Track[Any], trials: Protocol, study: Study, folder: Path) -> list[Choice]:
    """What came of a study, by seed and table.

    Raises:
        LTBenchError: it is of another version of the protocol.
    """
    if study.hash != trials.hash:
        raise LTBenchError(
            f"the study of {study.recipe} is of {study.protocol} with hash {study.hash}, not "
            f"{trials.hash}; move {studies.place_of(folder, study.recipe)} away, and its trials"
        )
    there: dict[tuple[str, int, str], Record] = {}
    for text in {text for drawn in study.drawn.values() for text in drawn}:
        of_text = folder / trials.name / "records" / records.folder_of(text)
        for path in sorted(of_text.glob("*.json")):
            record = records.read_of(path, trials.name)
            if isinstance(record, Record) and trials.counts(record.hash):
                there[record.recipe, record.seed, record.table] = record
    tables = sorted({table for _, _, table in there}) or [""]
    made = []
    for told, drawn in study.drawn.items():
        for table in tables:
            found = [there.get((text, int(told), table)) for text in drawn]
            made.append(_choice(track, trials, int(told), table, drawn, found))
    return made


def _choice(
    track: Track[Any],
    trials: Protocol,
    seed: int,
    table: str,
    settings: list[str],
    found: Sequence[Record | None],
) -> Choice:
    sign = track.measure(track.shown(trials)[0]).sign
    judged = [
        None if one is None or one.status != "ok" else track.judged(trials, one) for one in found
    ]
    parts = max((len(one) for one in judged if one), default=1)
    scores: list[list[float] | None] = []
    for one, told in zip(found, judged, strict=True):
        if one is None:
            scores.append(None)
        elif told is None:
            scores.append([-math.inf] * parts)
        else:
            scores.append([-math.inf if value is None else sign * value for value in told])
    return Choice(
        seed=seed,
        table=table,
        settings=settings,
        scores=scores,
        failed=sum(one is not None and one.status != "ok" for one in found),
        reason=next((one.reason for one in found if one is not None and one.reason), ""),
        work=sum(one.timing.work for one in found if one is not None and one.timing is not None),
    )


def tested(
    track: Track[Any], protocol: Protocol, results: Path, recipe: str, seed: int, table: str
) -> Record | None:
    """The finished record of an ordinary cell, among those of the protocol, if it counts."""
    path = records.path_of(results, protocol.name, recipe, seed, table)
    found = records.read_of(path, protocol.name, track.name) if path.exists() else None
    counts = isinstance(found, Record) and found.status == "ok" and protocol.counts(found.hash)
    return found if counts and isinstance(found, Record) else None
