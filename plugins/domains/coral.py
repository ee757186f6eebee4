"""Deep CORAL: features of all domains alike in mean and covariance (Sun & Saenko, 2016)."""

from torch.nn.functional import one_hot

from ltbench import LogUniform, Method, NonNegative, hookimpl
from ltbench.tracks.domains.contract import groups_in


class CORAL(Method):
    """Adds `gamma` times the gap of the domains' features in the batch.

    The gap is the mean over pairs of domains of the mean squared difference of their means plus
    that of their covariances (n - 1), as in the codes of DomainBed and BoDA. A domain with fewer
    than two rows in the batch is passed over.
    """

    name = "coral"
    reference = "arXiv:1607.01719"
    needs = frozenset({"groups"})
    neutral = {"gamma": 0.0}
    space = {"gamma": LogUniform(0.1, 10.0)}  # DomainBed's

    def __init__(self, gamma: NonNegative = 1.0):
        self.gamma = gamma

    def extra(self, output, batch, run):
        features = output.features[: len(batch.rows)]
        return None if self.gamma == 0 else self.gamma * gap(features, groups_in(batch))


def gap(features, groups):
    """The mean over pairs of domains of the squared gaps of moments; 0 where there is no pair.

    The sum over pairs of squared differences of G things is G times that to their mean.
    """
    member = one_hot(groups).to(features)  # [N, G]
    member = member[:, member.sum(dim=0) > 1]
    rows, domains = member.sum(dim=0), member.shape[1]
    if domains < 2:
        return features.new_zeros(())
    means = member.T @ features / rows[:, None]
    apart = member.T[:, :, None] * (features - means[:, None])  # [G, N, D]
    covariances = apart.transpose(1, 2) @ apart / (rows - 1)[:, None, None]
    return sum(2 / (domains - 1) * spread(moments) for moments in (means, covariances))


def spread(moments):
    """The sum over domains [G, ...] of the mean squared distance to their mean."""
    return (moments - moments.mean(dim=0)).square().flatten(1).mean(dim=1).sum()


@hookimpl
def register_methods(register):
    register(CORAL)
