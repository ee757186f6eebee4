"""How a cell trains its network: from where it stood or another's first stage ended, and timed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from ltbench.contract.context import Run
from ltbench.contract.recipes import Recipe
from ltbench.contract.track import Answer
from ltbench.protocols.schema import Classification
from ltbench.results.records import Timing
from ltbench.tracks.classification import Parts, timed
from ltbench.tracks.shared_stages import first_stage
from ltbench.training import checkpoints
from ltbench.training.engine import train
from ltbench.training.timing import Clock


@dataclass(frozen=True)
class Learned:
    """A network that was trained, its run, and what a record tells of how."""

    model: nn.Module
    run: Run
    continued: int
    stage: str
    clock: Clock
    reference: float
    owed: tuple[float, float]
    plain_passes: int

    @property
    def timing(self) -> Timing:
        """What it cost, with the gradients that were computed until now."""
        return timed(self.clock, self.reference, self.run.passes / self.plain_passes, *self.owed)

    def answer(self, scores: Tensor, predicted: Tensor, **more: Any) -> Answer:
        """What it says of the rows that it was asked, with `more` of what an answer holds."""
        return Answer(
            scores=scores.double().cpu(),
            predicted=predicted.cpu(),
            timing=self.timing,
            notes=self.run.notes,
            continued=self.continued,
            stage=self.stage,
            **more,
        )


def learned(
    protocol: Classification,
    recipe: Recipe,
    parts: Parts,
    begin: Callable[[], Run],
    plain: Callable[..., float],
) -> Learned:
    """What `recipe` makes of the rows; `begin` gives a fresh run, `plain` times plain training."""
    run = begin()
    rows = parts.train.to(run.device)
    validation = parts.validation.to(run.device) if parts.validation is not None else None
    kept = checkpoints.current()
    resume = kept.read(run)
    with first_stage(protocol, recipe, rows, begin(), resume, plain) as stage:
        kept.stage = stage.key or kept.stage
        before = stage.before(plain)
        with Clock(run.device, stage.cost or kept.earlier) as clock:
            model = train(
                recipe,
                rows,
                run,
                protocol.budget.batch_size,
                validation,
                checkpoint=partial(kept.write, recipe, run, clock),
                due=kept.due,
                resume=stage.state or resume,
                ended=partial(stage.ended, clock, before),
            )
    reference = stage.beside(plain, before, clock)
    passes = len(parts.train) * protocol.budget.epochs
    return Learned(model, run, kept.times, kept.stage, clock, reference, stage.owed, passes)
