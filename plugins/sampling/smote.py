"""New rows between a row and its neighbours: SMOTE and its relatives, on inputs or on features.

SMOTE: Chawla et al., JAIR 2002. Borderline-SMOTE: Han et al., ICIC 2005. ADASYN: He et al., IJCNN
2008. Growing classes among learned features: Dablain et al., arXiv:2207.06080. The rules that
make the rows are imbalanced-learn's.
"""

from dataclasses import replace
from typing import Annotated, Literal

import imblearn.over_sampling as samplers
import numpy as np
import torch
from msgspec import Meta

from ltbench import Integer, Method, Rows, Share, hookimpl

Count = Annotated[int, Meta(ge=1)]


class SMOTE(Method):
    """Grows each class to the size of the largest, between rows of that class in input space.

    A class with too few rows for `neighbours` uses all the others it has; a single row is
    repeated. Wraps imbalanced-learn's SMOTE; the original rows come first. Bytes are
    interpolated in float and rounded.
    """

    name = "smote"
    reference = "arXiv:1106.1813"
    corrects = "prior"
    space = {"neighbours": Integer(2, 10)}

    def __init__(self, neighbours: Count = 5):
        self.neighbours = neighbours

    def resample(self, train, run):
        x, y = train.inputs.flatten(1).cpu().numpy(), train.labels.cpu().numpy()
        if not train.inputs.is_floating_point():
            x = x.astype(np.float32)  # a difference of bytes would wrap around
        counts = np.bincount(y)
        neighbours = np.minimum(self.neighbours, counts - 1)
        rare = (counts > 0) & (counts < counts.max())
        grown = [train]
        for k in np.unique(neighbours[rare]).tolist():
            if k == 0:
                run.note("classes of 1 row: repeated")
            elif k < self.neighbours:
                run.note(f"classes of {k + 1} rows: {k} of {self.neighbours} neighbours")
            classes = np.flatnonzero(rare & (neighbours == k))
            for more_x, more_y in self.new_rows(x, y, classes, k, run):
                grown.append(rows_like(train, more_x, more_y))
        return Rows(torch.cat([g.inputs for g in grown]), torch.cat([g.labels for g in grown]))

    def new_rows(self, x, y, classes, k, run):
        """New rows, in parts, of `classes` whose rows have `k` neighbours each."""
        sampler = samplers.SMOTE(k_neighbors=k) if k else samplers.RandomOverSampler()
        return [sampled(sampler, x, y, classes, run)]


class BorderlineSMOTE(SMOTE):
    """SMOTE from those rows alone of whose `nearby` nearest half or more, but not all, are foreign.

    The rows of a class are joined to their neighbours in it; with kind "borderline-2", also, up to
    half the way, to those of other classes. Where a class has no such row, SMOTE grows it, which
    is our choice. Wraps imbalanced-learn's BorderlineSMOTE.
    """

    name = "borderline-smote"
    reference = "doi:10.1007/11538059_91"

    def __init__(
        self,
        neighbours: Count = 5,
        nearby: Count = 10,
        kind: Literal["borderline-1", "borderline-2"] = "borderline-1",
    ):
        self.neighbours = neighbours
        self.nearby = nearby
        self.kind = kind

    def new_rows(self, x, y, classes, k, run):
        if k == 0:
            return super().new_rows(x, y, classes, k, run)
        nearby = min(self.nearby, len(x) - 1)
        sampler = samplers.BorderlineSMOTE(k_neighbors=k, m_neighbors=nearby, kind=self.kind)
        more = sampled(sampler, x, y, classes, run)
        others = np.setdiff1d(classes, more[1])
        if not len(others):
            return [more]
        run.note("classes with no row in danger: grown by SMOTE")
        return [more, *super().new_rows(x, y, others, k, run)]


class ADASYN(SMOTE):
    """SMOTE that starts from a row the more often, the more of its neighbours are foreign.

    Classes end near the size of the largest, not at it, as each row's part is rounded. Where no
    row of a class has a foreign neighbour, or all parts round to nothing, SMOTE grows it, which is
    our choice. Wraps imbalanced-learn's ADASYN.
    """

    name = "adasyn"
    reference = "doi:10.1109/IJCNN.2008.4633969"

    def new_rows(self, x, y, classes, k, run):
        if k == 0:
            return super().new_rows(x, y, classes, k, run)
        parts, others = [], []
        for c in classes:
            try:
                parts.append(sampled(samplers.ADASYN(n_neighbors=k), x, y, np.array([c]), run))
            except (RuntimeError, ValueError) as error:
                if not str(error).startswith(("Not any neig", "No samples will be")):
                    raise
                others.append(c)
        if others:
            run.note("classes with no row to start from: grown by SMOTE")
            parts += super().new_rows(x, y, np.array(others), k, run)
        return parts


class DeepSMOTE(Method):
    """Trains plainly, then trains the head alone, on features of the network grown by `kind`.

    That is the framework of Dablain et al. (arXiv:2207.06080), with SMOTE's rules in place of
    theirs, EOS. Their DeepSMOTE (arXiv:2105.02340) this is not: it trains an encoder and a decoder,
    interpolates codes and trains a network on the images decoded from them, while here nothing is
    decoded. The features are those of rows that are not augmented. The head goes on from where it
    is, or starts anew with `reset`. `share` is the length of the second stage in first ones, by
    our choice that of cRT.
    """

    name = "deep-smote"
    reference = "arXiv:2207.06080"
    roles = ("head",)
    corrects = "prior"
    space = {"neighbours": Integer(2, 10)}

    def __init__(
        self,
        kind: Literal["smote", "borderline-smote", "adasyn"] = "smote",
        neighbours: Count = 5,
        share: Share = 1 / 9,
        reset: bool = False,
    ):
        self.kind = kind
        self.neighbours = neighbours
        self.share = share
        self.reset = reset

    def phases(self, plan, run):
        stage = {"role": "head", "learn": "head", "frozen_bn": True, "on_features": True}
        epochs = max(1, round(self.share * plan[-1].epochs))
        reset = "head" if self.reset else None
        return [*plan, replace(plan[-1], epochs=epochs, reset=reset, **stage)]

    def enter(self, train, run):
        rule = {method.name: method for method in (SMOTE, BorderlineSMOTE, ADASYN)}[self.kind]
        features = Rows(run.features(train.inputs), train.labels)
        return rule(neighbours=self.neighbours).resample(features, run)


def sampled(sampler, x, y, classes, run):
    """The rows and labels that `sampler` adds to bring `classes` to the size of the largest."""
    sampler.set_params(
        sampling_strategy=dict.fromkeys(classes.tolist(), int(np.bincount(y).max())),
        random_state=run.seed,
    )
    grown_x, grown_y = sampler.fit_resample(x, y)
    return grown_x[len(x) :], grown_y[len(y) :]


def rows_like(train, x, y):
    """Rows of the shape and type of `train`."""
    if not train.inputs.is_floating_point():
        x = np.rint(x)
    inputs = torch.from_numpy(x).to(train.inputs)
    return Rows(inputs.reshape(-1, *train.inputs.shape[1:]), torch.from_numpy(y).to(train.labels))


@hookimpl
def register_methods(register):
    register(SMOTE)
    register(BorderlineSMOTE)
    register(ADASYN)
    register(DeepSMOTE)
