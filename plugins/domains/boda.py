"""BoDA: balanced domain-class distribution alignment (Yang et al., ECCV 2022)."""

import torch

from ltbench import LogUniform, Method, NonNegative, Positive, Share, Uniform, hookimpl
from ltbench.tracks.domains.contract import cell_of, cells_of, domains_of, groups_in
from ltbench_plugins.domains.coral import gap


class BoDA(Method):
    """Draws features towards the centroids of their class in other domains, away from all others.

    For a row i with features f of a cell with N_i rows and a cell k with N_k rows and centroid mu,
    s_ki = -|mu_k - f_i| / N_i (N_k / N_i)^nu / temperature. The loss adds `weight` times the mean,
    over pairs of a row and a cell of its class in another domain, of -log softmax of s_ki over all
    cells but the row's own, and `macro` times the gap of CORAL. Centroids are those of all training
    rows, `momentum` of the last ones and the rest new; cells without rows have none. Values are the
    code's, which averages over pairs where the paper averages over partners first, and does not
    square distances. Departures: centroids are made anew at each epoch but the first, in evaluation
    mode, where the code does so every 120 steps; they act from the share `start` of the training on
    (500 of its 5001 steps); its batches have equally many rows of each domain (`+equal-domains`).

    BoDA(r) is `boda+domain-resampling`, BoDA(r,c) `boda+domain-resampling+domain-crt`.
    """

    name = "boda"
    reference = "arXiv:2203.09513"
    needs = frozenset({"groups"})
    neutral = {"weight": 0.0, "macro": 0.0}
    space = {"weight": LogUniform(0.01, 1.0), "nu": Uniform(0.0, 1.0)}

    def __init__(
        self,
        weight: NonNegative = 0.1,
        macro: NonNegative = 1.0,
        nu: float = 0.5,
        temperature: Positive = 1.0,
        momentum: Share = 0.2,
        start: Share = 0.1,
    ):
        self.weight = weight
        self.macro = macro
        self.nu = nu
        self.temperature = temperature
        self.momentum = momentum
        self.start = start

    def build(self, model, run):
        like, cells = next(model.parameters()), domains_of(run) * run.num_classes
        model.register_buffer("centroids", like.new_zeros(cells, model.head.in_features))
        model.register_buffer("refreshed", torch.tensor(False))
        return model

    def prepare(self, run):
        self.cells = cells_of(run)
        if self.weight and run.progress > 0 and hasattr(run.model, "centroids"):
            model, train = run.model, run.train
            features = torch.cat([run.features(part) for part in train.portions()])
            fresh = centroids(features, train, self.cells)
            old = self.momentum if model.refreshed else 0.0
            model.centroids.copy_(old * model.centroids + (1 - old) * fresh)
            model.refreshed.fill_(True)

    def extra(self, output, batch, run):
        features, groups = output.features[: len(batch.rows)], groups_in(batch)
        total = self.macro * gap(features, groups)
        if self.weight and run.progress >= self.start and getattr(run.model, "refreshed", False):
            own = cell_of(groups, batch.targets[0][0], run.num_classes)
            total = total + self.weight * alignment(
                features, own, run.model.centroids, self.cells, self.nu, self.temperature
            )
        return total if self.weight or self.macro else None


def centroids(features, rows, cells):
    """The mean features [G C, D] of the rows of each cell [G, C]; 0 for one without rows."""
    groups = torch.zeros_like(rows.labels) if rows.groups is None else rows.groups
    own = cell_of(groups, rows.labels, cells.shape[1])
    sums = features.new_zeros(cells.numel(), features.shape[1]).index_add(0, own, features)
    return sums / cells.flatten().clamp(min=1)[:, None]


def alignment(features, own, centroids, cells, nu=0.5, temperature=1.0):
    """The loss of rows of cells `own` [N] among centroids [G C, D] of cells with rows [G, C].

    It is 0 where no class has rows in two domains.
    """
    if len(cells) < 2:
        return features.new_zeros(())
    classes, counts = cells.shape[1], cells.flatten()
    rows, number = counts[own][:, None], torch.arange(len(counts), device=own.device)
    scores = -torch.cdist(features, centroids) / rows * (counts / rows) ** nu / temperature
    rivals = (number != own[:, None]) & (counts > 0)
    partners = rivals & (number % classes == own[:, None] % classes)
    logs = scores - scores.masked_fill(~rivals, -torch.inf).logsumexp(dim=1, keepdim=True)
    return -torch.where(partners, logs, 0).sum() / partners.sum().clamp(min=1)


@hookimpl
def register_methods(register):
    register(BoDA)
