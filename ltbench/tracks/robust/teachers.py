"""Teachers of a cell: networks trained on its own rows, of which other networks learn."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from ltbench.contract.context import Batch, Rows, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.errors import LTBenchError
from ltbench.tracks.kept_networks import digest
from ltbench.training import events
from ltbench.training.engine import stream_seed, train

Pair = tuple[nn.Module, nn.Module]


class Plain(Method):
    """Plain training, with balanced softmax where it is asked for."""

    def __init__(self, balanced: bool) -> None:
        self.balanced = balanced

    def adjust(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        return scores + run.seen.log() if self.balanced else scores


class Attacked(Plain):
    """The same on each batch as the protocol's attack moves it."""

    def batch(self, batch: Batch, run: Run) -> Batch:
        labels = batch.targets[0][0]
        return replace(batch, inputs=run.granted.attack(batch.inputs, labels, run))


@dataclass
class Teachers:
    """The teachers of a cell; they are trained when a method asks, and their gradients counted.

    `begin` gives a run of the cell's rows that another seed starts. Each teacher has a network of
    its own, and the budget and the training rows of the cell.
    """

    begin: Callable[[int], Run]
    rows: Rows
    batch_size: int
    trained: dict[bool, tuple[Pair, str]] = field(default_factory=dict)

    def __call__(self, run: Run, balanced: bool = False) -> Pair:
        """A natural and a robust teacher, in evaluation mode; they are not to be changed."""
        if balanced not in self.trained:
            pair = self._train(Plain(balanced), run), self._train(Attacked(balanced), run)
            self.trained[balanced] = pair, digest(*pair)
        return self.trained[balanced][0]

    def _train(self, method: Method, run: Run) -> nn.Module:
        own = self.begin(stream_seed(run.seed, f"{type(method).__name__} teacher"))
        with events.heard_by(None):
            model = train(method, self.rows.to(own.device), own, self.batch_size)
        run.passes += own.passes
        return model.requires_grad_(False)

    def refuse_changed(self, recipe: Recipe) -> None:
        """Refuses teachers that are not what they were.

        Raises:
            LTBenchError: a method changed one.
        """
        for pair, told in self.trained.values():
            if digest(*pair) != told:
                raise LTBenchError(
                    f"{recipe.text} changed a teacher, and teachers are frozen; let it work on a "
                    "copy (copy.deepcopy)"
                )
