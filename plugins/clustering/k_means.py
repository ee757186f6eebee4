"""k-means on the encoder's features: the floor of clustering (Lloyd, 1982)."""

from typing import Annotated

from msgspec import Meta
from sklearn.cluster import KMeans as Lloyd
from torch import Tensor, cdist, nn

from ltbench import LTBenchError, hookimpl
from ltbench.tracks.clustering.contract import POOL, Clustering, pool_of

Count = Annotated[int, Meta(ge=1)]


class KMeans(Clustering):
    """A row is in the cluster of the nearest centre; of `starts` the one of least squares stays.

    Alone it trains nothing; beside what learns from the pool it clusters what that has made of the
    features. By scikit-learn.
    """

    name = "k-means"
    reference = "doi:10.1109/TIT.1982.1056489"
    needs = frozenset({POOL})

    def __init__(self, starts: Count = 10):
        self.starts = starts

    def phases(self, plan, run):
        return plan if learns(run) else []

    def finish(self, model, validation, run):
        pool = pool_of(run)
        if pool is not None:
            model.head = Nearest(self.centres(run.features(pool), run))
        return model

    def centres(self, features, run):
        refuse_few(self.name, features, run.num_classes)
        return lloyd(features, run.num_classes, self.starts, run.seed)


def lloyd(features, clusters, starts, seed):
    """The centres [C, D] of features [M, D]."""
    made = Lloyd(clusters, n_init=starts, random_state=seed % 2**32).fit(features.cpu().numpy())
    return features.new_tensor(made.cluster_centers_)


def learns(run):
    """Whether another method of the recipe learns from the pool."""
    return run.recipe is not None and bool(run.recipe.chain("unlabelled_loss", run))


def refuse_few(name, features, clusters):
    """Refuses more clusters than there are rows."""
    if len(features) < clusters:
        raise LTBenchError(
            f"{name} cannot make {clusters} clusters of {len(features)} rows; it needs as many rows"
        )


class Nearest(nn.Module):
    """Scores [N, C] are less the squared distance to each centre [C, D]."""

    def __init__(self, centres: Tensor):
        super().__init__()
        self.register_buffer("centres", centres)

    def forward(self, features):
        return -cdist(features, self.centres).square()


@hookimpl
def register_methods(register):
    register(KMeans)
