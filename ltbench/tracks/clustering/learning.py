"""How a recipe learns from rows without labels: two views of them in each step."""

import torch
from torch import Tensor, nn

from ltbench.contract.context import Batch, Output, Run
from ltbench.contract.method import Method
from ltbench.contract.recipes import Recipe
from ltbench.tracks.clustering.contract import Clustering, ClusteringGrants
from ltbench.training.engine import generator

STREAM = "pool"  # of chance, which disturbs no other


class Grouped(Recipe):
    """A recipe on this track: where a method learns from the pool, two views of its rows pass
    through the network in each step, behind those that have labels.

    Where no row has a label, the engine has all rows in their place, as if they had one; nothing
    is learned from it, and no class is taken to be larger.
    """

    def __init__(self, *methods: Method) -> None:
        super().__init__(*methods, contract=Clustering)
        self.drawn: Tensor | None = None
        self.labelled = 0

    def build(self, model: nn.Module, run: Run) -> nn.Module:
        run.chance[STREAM] = generator(run, STREAM)
        return super().build(model, run)

    def prepare(self, run: Run) -> None:
        if not granted(run).told:
            run.seen = torch.full_like(run.seen, 1 / run.num_classes)
        super().prepare(run)

    def batch(self, batch: Batch, run: Run) -> Batch:
        batch, self.drawn = super().batch(batch, run), None
        if not self.chain("unlabelled_loss", run) or run.phase.on_features:
            return batch
        self.labelled = len(batch.inputs)
        self.drawn, *views = granted(run).drawn(run.chance[STREAM])
        inputs = torch.cat([batch.inputs, *views])
        return Batch(inputs, batch.targets, batch.rows, batch.groups)

    def criterion(self, scores: Tensor, labels: Tensor, run: Run) -> Tensor:
        if granted(run).told:
            return super().criterion(scores, labels, run)
        return scores.new_zeros(len(scores))

    def beside(self, output: Output, batch: Batch, run: Run) -> list[Tensor | None]:
        return [self.extra(output, batch, run), self.from_pool(output, run)]

    def from_pool(self, output: Output, run: Run) -> Tensor | None:
        """What the views of this step's rows teach."""
        if self.drawn is None:
            return None
        number = len(self.drawn)
        first, second = (
            part(output, self.labelled + k * number, self.labelled + (k + 1) * number)
            for k in range(2)
        )
        found: Tensor | None = self.unlabelled_loss(first, second, self.drawn, run)
        return found


def part(output: Output, start: int, end: int) -> Output:
    """What a network put out for some rows of those that passed together."""
    return Output(tuple(head[start:end] for head in output.heads), output.features[start:end])


def granted(run: Run) -> ClusteringGrants:
    assert isinstance(run.granted, ClusteringGrants)
    return run.granted
