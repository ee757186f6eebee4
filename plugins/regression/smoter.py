"""SMOTER and SMOGN: new rows between rare ones and their neighbours, with a value between theirs.

SMOTE for regression: Torgo et al., EPIA 2013; with noise: Branco et al., LIDTA 2017.
"""

from typing import Annotated, Literal

import torch
from msgspec import Meta

from ltbench import LTBenchError, NonNegative, Rows, hookimpl
from ltbench.tracks.regression.contract import Regression

Count = Annotated[int, Meta(ge=1)]
WHISKERS = 1.5  # in ranges between quartiles
RARE = 0.5  # relevance from which a value is rare


class SMOTER(Regression):
    """Grows rare values between rows that are near each other, and drops frequent ones.

    - `rule="relevance"`, the source's: relevance is 0 at the median, 1 beyond the whiskers of a box
      plot, with a cubic between; rows from 0.5 on are rare. Runs of values of one kind are bumps,
      and each comes to the same number of rows, n / bumps.
    - `rule="bins"`, our choice: bins of fewer rows than the mean grow to that, none is cut, and
      neighbours are sought in the bins beside as well.

    A new row lies at a random place between a row and one of its k nearest in the same part; its
    value is the mean of theirs, weighed by nearness to each. A part of one row repeats it. The
    known package of this rule drops the rows that it should keep, counts rare rows twice and reads
    values before they are written: no number here is that package's.
    """

    name = "smoter"
    reference = "doi:10.1007/978-3-642-40669-0_33"
    corrects = "prior"
    noise = None

    def __init__(self, neighbours: Count = 5, rule: Literal["bins", "relevance"] = "bins"):
        self.neighbours = neighbours
        self.rule = rule

    def resample(self, train, run):
        if not train.inputs.is_floating_point():
            raise LTBenchError(f"{self.name} makes rows of numbers, and these are of bytes")
        values = train.labels
        if self.rule == "bins":
            parts, sizes = by_bins(run.granted.bins(values), run.exact_counts)
        else:
            parts, sizes = by_relevance(values)
        inputs, labels = [], []
        for (own, pool), size in zip(parts, sizes, strict=True):
            kept = own[torch.randperm(len(own), generator=run.rng, device=own.device)[:size]]
            kept = kept.sort().values
            inputs.append(train.inputs_at(kept))
            labels.append(values[kept])
            if size > len(own):
                x, y = self.grown(train, own, pool, size - len(own), run)
                inputs.append(x)
                labels.append(y)
        return Rows(torch.cat(inputs), torch.cat(labels))

    def grown(self, train, own, pool, number, run):
        """New rows, as many as said, from rows at the places `own`, to those at `pool`."""
        x, y = train.inputs_at(pool), train.labels[pool]
        flat = x.flatten(1)
        begin = torch.searchsorted(pool, own)
        gaps = torch.cdist(flat[begin], flat)
        gaps[torch.arange(len(own)), begin] = torch.inf
        k = min(self.neighbours, len(pool) - 1)
        start = torch.randint(len(own), (number,), generator=run.rng, device=own.device)
        if k == 0:
            return x[begin[start]], y[begin[start]]
        near = gaps.topk(k, dim=1, largest=False)
        which = torch.randint(k, (number,), generator=run.rng, device=own.device)
        gap, end = near.values[start, which], near.indices[start, which]
        place = torch.rand(number, generator=run.rng, device=own.device).to(x)
        first, second = begin[start], end
        between = place.reshape(-1, *[1] * (x.dim() - 1))
        made_x = torch.lerp(x[first], x[second], between)
        made_y = torch.lerp(y[first], y[second], place.to(y))
        if self.noise is None:
            return made_x, made_y
        median = gaps.masked_fill(gaps.isinf(), torch.nan).nanmedian(dim=1).values[start]
        far = gap > median / 2
        noisy = torch.randn(made_x.shape, generator=run.rng, device=own.device).to(x)
        noisy_x = x[first] + self.noise * noisy * x.std(dim=0, correction=0)
        noise_y = torch.randn(number, generator=run.rng, device=own.device).to(y)
        noisy_y = y[first] + self.noise * noise_y * y.std(correction=0)
        shape = far.reshape(between.shape)
        return torch.where(shape, noisy_x, made_x), torch.where(far, noisy_y, made_y)


class SMOGN(SMOTER):
    """SMOTER that repeats a row with Gaussian noise where its neighbour is far: further than half
    the median of the distances to its part. The noise is that many deviations of the part."""

    name = "smogn"
    reference = "Branco et al., LIDTA 2017"

    def __init__(
        self,
        neighbours: Count = 5,
        rule: Literal["bins", "relevance"] = "bins",
        noise: NonNegative = 0.02,
    ):
        super().__init__(neighbours, rule)
        self.noise = noise


def by_bins(bins, counts):
    """The rows of each bin that has some, with those beside it, and how many it comes to."""
    target = round(float(counts.sum() / (counts > 0).sum()))
    parts, sizes = [], []
    for b in counts.nonzero().flatten().tolist():
        own = (bins == b).nonzero().flatten()
        parts.append((own, ((bins - b).abs() <= 1).nonzero().flatten()))
        sizes.append(max(len(own), target))
    return parts, sizes


def by_relevance(values):
    """The rows of each bump in the order of values, twice, and how many each comes to."""
    order = values.argsort(stable=True)
    rare = relevance(values[order]) >= RARE
    if not rare.any() or rare.all():
        told = "all values are rare" if rare.any() else "no value lies beyond a whisker"
        raise LTBenchError(
            f"smoter(rule='relevance'): {told}, so that nothing is to be evened out; take "
            "rule='bins'"
        )
    ends = (rare[1:] != rare[:-1]).nonzero().flatten() + 1
    bumps = [one.sort().values for one in order.tensor_split(ends.tolist())]
    size = round(len(values) / len(bumps))
    return [(one, one) for one in bumps], [size] * len(bumps)


def relevance(values):
    """How rare values [N] are by a box plot of them: from 0 at the median to 1 at a whisker.

    A side without a value beyond its whisker is not rare at all.
    """
    told = values.double()
    low, middle, high = told.quantile(torch.tensor([0.25, 0.5, 0.75]).to(told))
    reach = WHISKERS * (high - low)
    within = told[(told >= low - reach) & (told <= high + reach)]
    found = torch.zeros_like(told)
    for whisker, side in ((within.min(), told < middle), (within.max(), told > middle)):
        beyond = told < whisker if whisker < middle else told > whisker
        if beyond.any():
            share = ((told - middle) / (whisker - middle)).clamp(0, 1)
            found = torch.where(side, share**2 * (3 - 2 * share), found)
    return found


@hookimpl
def register_methods(register):
    register(SMOTER)
    register(SMOGN)
