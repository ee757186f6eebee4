"""A mixture of Gaussians on principal components, fitted by EM (Dempster et al., 1977)."""

import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as Mixture
from torch import nn

from ltbench import NonNegative, hookimpl
from ltbench.tracks.clustering.contract import pool_of
from ltbench_plugins.clustering.k_means import Count, KMeans, refuse_few


class GaussianMixture(KMeans):
    """A row is in the cluster whose Gaussian, with its weight and full covariance, is likeliest.

    Features are brought to `components`, or fewer where there are not as many; `ridge` is added
    to variances. Of `starts` the likeliest stays. By scikit-learn.
    """

    name = "gaussian-mixture"
    reference = "doi:10.1111/j.2517-6161.1977.tb01600.x"

    def __init__(self, components: Count = 10, ridge: NonNegative = 1e-3, starts: Count = 5):
        self.components, self.ridge, self.starts = components, ridge, starts

    def finish(self, model, validation, run):
        pool = pool_of(run)
        if pool is not None:
            features = run.features(pool)
            refuse_few(self.name, features, run.num_classes)
            model.head = self.fitted(features, run.num_classes, run.seed)
        return model

    def fitted(self, features, clusters, seed):
        x, chance = features.double().cpu().numpy(), seed % 2**32
        pca = PCA(min(self.components, *x.shape), random_state=chance).fit(x)
        mixture = Mixture(
            clusters, n_init=self.starts, reg_covar=self.ridge, random_state=chance
        ).fit(pca.transform(x))
        return Gaussians(
            features.new_tensor(pca.mean_),
            features.new_tensor(pca.components_),
            features.new_tensor(mixture.means_),
            features.new_tensor(mixture.precisions_cholesky_),
            features.new_tensor(mixture.weights_),
        )


class Gaussians(nn.Module):
    """Scores [N, C] are the logarithms of each weighted density, of the D components of features.

    `axes` [D, F] lead to components, `roots` [C, D, D] times their transposes are the inverses of
    covariances.
    """

    def __init__(self, mean, axes, means, roots, weights):
        super().__init__()
        for name, tensor in {"mean": mean, "axes": axes, "means": means, "roots": roots}.items():
            self.register_buffer(name, tensor)
        ends = roots.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        self.register_buffer("offset", weights.log() + ends)

    def forward(self, features):
        x = (features - self.mean) @ self.axes.T
        scaled = torch.einsum("ncd,cde->nce", x[:, None] - self.means, self.roots)
        return self.offset - scaled.square().sum(dim=-1) / 2


@hookimpl
def register_methods(register):
    register(GaussianMixture)
