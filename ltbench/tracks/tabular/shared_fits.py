"""Fits of plain learners, made once for the recipes that differ only in what follows the fit.

Thresholds and shifts of the prior decide otherwise on what one and the same model says. What it
said, what fitting and asking it took, and networks are kept; another model is fitted anew where
more is asked of it.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import hooks
from ltbench.contract.parts import LEARNERS
from ltbench.contract.recipes import Recipe
from ltbench.models import learners
from ltbench.registry.discovery import core_code
from ltbench.tracks.shared_stages import KEPT, begins_plainly, stage_key
from ltbench.tracks.shared_work import shared, shares
from ltbench.tracks.tabular.problem import Tabular
from ltbench.training import environment
from ltbench.training.engine import State, generator
from ltbench.training.method_state import digest_of
from ltbench.training.timing import Lap, aside, owe

KIND = "fits"
FORM = 2  # of the files, and of what their keys are made of
AROUND = {"resample", "sampling_weights", "prepare", "build", "weight"}  # hooks, before a fit
CPU = torch.device("cpu")


@dataclass
class Fits:
    """The fits of one learner in one fold by name: those `found` of another cell, or made here.

    `folds` hold, by its seed, the work of plain learners and the memory at the peak.
    """

    key: str
    found: bool
    made: dict[str, Any] = field(default_factory=dict, repr=False)
    folds: dict[int, tuple[float, float]] = field(default_factory=dict)

    def fitted(self, estimator: Any, rows: Rows, seed: int) -> tuple[str, Any]:
        """The name of a fit, and the estimator fitted to rows, or one that is if that is needed."""
        with aside():
            name = f"{seed}-{digest_of(rows)}"
        fit = partial(estimator.fit, rows.inputs.numpy(), rows.labels.numpy())
        if self.found and name in self.made:
            owe(*self.made[name]["took"])
            return name, Later(estimator, fit)
        lap = Lap()
        fit()
        self.made[name] = {"took": lap.read(), "said": {}}
        return name, estimator

    def probabilities(self, name: str, model: Any, inputs: NDArray[Any]) -> NDArray[Any]:
        """What the model of a fit says of inputs [N, D]: probabilities [N, C]."""
        with aside():
            said, asked = self.made[name]["said"], hashlib.sha256(inputs.tobytes()).hexdigest()
        if self.found and asked in said:
            owe(*said[asked]["took"])
            found: NDArray[Any] = said[asked]["probabilities"].numpy().copy()
            return found
        lap = Lap()
        answer = np.asarray(model.predict_proba(inputs))
        said[asked] = {"probabilities": torch.from_numpy(answer.copy()), "took": lap.read()}
        return answer

    def begun(
        self, told: Any, recipe: Recipe, rows: Rows, run: Run, batch_size: int
    ) -> tuple[State | None, Callable[[State], None] | None]:
        """The state at the end of a network's first stage, or what is to take that."""
        with aside():
            fresh = run
            if recipe.chain("phases", run):
                model = copy.deepcopy(run.model)
                fresh = replace(run, counts=run.exact_counts, model=model, notes=[])
                fresh.rng = generator(run, "methods")
            name = stage_key(recipe, rows, fresh, batch_size, [self.key, told])
        if not name:
            return None, None
        if self.found and name in self.made:
            owe(*self.made[name]["took"])
            return self.made[name]["state"], None
        lap = Lap()

        def ended(state: State) -> None:
            took = lap.read()
            with aside():
                own = {key: copy.deepcopy(state[key]) for key in KEPT}
                self.made[name] = {"took": took, "state": own}

        return None, ended


class Later:
    """An estimator that is fitted as soon as it is asked for something that fitting changes.

    It passes for what it stands for. As scikit-learn has it, what a fit sets ends with "_".
    """

    def __init__(self, estimator: Any, fit: Callable[[], Any]) -> None:
        vars(self).update(_estimator=estimator, _fit=fit)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._estimator)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        held = vars(self)
        if "_estimator" in held and name.startswith("__sklearn"):
            return getattr(held["_estimator"], name)
        if "_estimator" not in held or name.startswith("__"):
            raise AttributeError(name)
        if name[0] != "_" and name[-1] != "_" and not hasattr(held["_estimator"], name):
            raise AttributeError(name)
        fit, held["_fit"] = held["_fit"], None
        if fit is not None:
            fit()
        return getattr(held["_estimator"], name)


@contextmanager
def shared_fits(
    protocol: Tabular,
    recipe: Recipe,
    seed: int,
    fingerprint: str,
    learner: str,
    takes: Callable[[], float],
) -> Iterator[Fits | None]:
    """The fits of a learner in a fold; None where they are not those of plain learners.

    About how many seconds all of them take is told by `takes`.
    """
    if not shares() or not is_plain(recipe, learner):
        yield None
        return
    key = key_of(protocol, seed, fingerprint, learner)
    with shared(KIND, key, ("made", "folds"), takes) as work:
        fits = Fits(key, work.found is not None, **(work.found or {}))
        yield fits
        if work.found is None and fits.made:
            work.leave({"made": fits.made, "folds": fits.folds})


def is_plain(recipe: Recipe, learner: str) -> bool:
    """Whether no method acts before a fit or in it; of a network as far as is known by now."""
    if learner == learners.NETWORK:
        return begins_plainly(recipe)
    return not any(AROUND.intersection(hooks(type(method))) for method in recipe.methods)


def key_of(protocol: Tabular, seed: int, fingerprint: str, learner: str) -> str:
    """A hash of all that decides to what plain learners are fitted, and how."""
    told = [FORM, protocol.hash, seed, fingerprint, learner, learners.version(learner)]
    told += [core_code(("ltbench.tracks.tabular.track", *LEARNERS.modules((learner,))))]
    told += environment.deciding(CPU, protocol.compute.threads)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]
