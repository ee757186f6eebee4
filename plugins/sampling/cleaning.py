"""Removing rows that lie among other classes, that say nothing new, or that are hard to tell.

Tomek links: Tomek, TSMC 1976 (6, 769-772). ENN: Wilson, TSMC 1972. RENN and AllKNN: Tomek, TSMC
1976 (6, 448-452). Condensed nearest neighbours: Hart, IEEE Transactions on Information Theory 1968.
One-sided selection: Kubat and Matwin, ICML 1997. Neighbourhood cleaning: Laurikkala, AIME 2001.
Instance hardness: Smith et al., Machine Learning 2014. SMOTE with ENN or Tomek links: Batista et
al., SIGKDD Explorations 2004. The rules are imbalanced-learn's.
"""

import warnings
from typing import Annotated, Literal

import imblearn.under_sampling as samplers
import numpy as np
import torch
from msgspec import Meta
from sklearn.ensemble import RandomForestClassifier

from ltbench import Integer, Method, hookimpl
from ltbench_plugins.sampling.smote import SMOTE, Count

Kind = Literal["all", "mode"]
Folds = Annotated[int, Meta(ge=2)]


class Cleaning(Method):
    """Keeps the rows that a rule does not remove, in their order.

    Every class but the rarest is cleaned, imbalanced-learn's "auto". Where several are the rarest,
    none of them is, and a rule that asks for one takes the first in the table. A class that would
    lose all rows keeps all. Both are our choice.
    """

    def resample(self, train, run):
        x, y = table(train)
        classes = larger(y, run)
        return remaining(train, y, self.kept(x, y, classes, run), run) if len(classes) else train

    def kept(self, x, y, classes, run):
        """Which rows [N] are kept of the numbers `x` [N, D], when `classes` are to be cleaned.

        Class 0 is the rarest; the larger its number, the more rows a class has.
        """
        raise NotImplementedError


class TomekLinks(Cleaning):
    """Removes a row if it and a foreign row are each other's nearest.

    The row of the rarest class in such a link stays. It evens out nothing, so it corrects no prior.
    Wraps imbalanced-learn's TomekLinks.
    """

    name = "tomek-links"
    reference = "doi:10.1109/TSMC.1976.4309452"

    def kept(self, x, y, classes, run):
        return chosen(samplers.TomekLinks(), x, y, classes.tolist())


class ENN(Cleaning):
    """Edited nearest neighbours: removes a row if any of its nearest is foreign.

    With kind "mode", Wilson's own rule, if the class most frequent among them is; of equally
    frequent ones the rarest counts. It evens out nothing, so it corrects no prior. Wraps
    imbalanced-learn's EditedNearestNeighbours.
    """

    name = "enn"
    reference = "doi:10.1109/TSMC.1972.4309137"
    space = {"neighbours": Integer(1, 9)}

    def __init__(self, neighbours: Count = 3, kind: Kind = "all"):
        self.neighbours = neighbours
        self.kind = kind

    def kept(self, x, y, classes, run):
        return self.edited(x, y, classes, self.neighbours, run)

    def edited(self, x, y, classes, neighbours, run):
        k = at_most(len(x) - 1, neighbours, run)
        sampler = samplers.EditedNearestNeighbours(n_neighbors=k, kind_sel=self.kind)
        return chosen(sampler, x, y, classes.tolist())


class RepeatedENN(ENN):
    """ENN again and again on what it leaves, until it removes nothing, or `rounds` times.

    As in imbalanced-learn, it stops too once a class is smaller than the rarest. Corrects no prior.
    """

    name = "renn"
    reference = "doi:10.1109/TSMC.1976.4309523"

    def __init__(self, neighbours: Count = 3, kind: Kind = "all", rounds: Count = 100):
        self.neighbours = neighbours
        self.kind = kind
        self.rounds = rounds

    def kept(self, x, y, classes, run):
        kept = np.arange(len(x))
        rarest = np.bincount(y).min()
        for neighbours in self.sizes():
            stays = self.edited(x[kept], y[kept], classes, neighbours, run)
            kept = kept[stays]
            settled = stays.all() and neighbours == self.neighbours
            if settled or np.bincount(y[kept], minlength=y.max() + 1).min() < rarest:
                break
        return np.isin(np.arange(len(x)), kept)

    def sizes(self):
        """How many neighbours each round looks at."""
        return [self.neighbours] * self.rounds


class AllKNN(RepeatedENN):
    """ENN with 1 neighbour, on what it leaves with 2, and so on up to `neighbours`.

    As in imbalanced-learn, a round sees what the earlier ones leave, while Tomek removes at the
    end; and it stops once a class is smaller than the rarest. Corrects no prior.
    """

    name = "all-knn"
    reference = "doi:10.1109/TSMC.1976.4309523"

    def __init__(self, neighbours: Count = 3, kind: Kind = "all"):
        self.neighbours = neighbours
        self.kind = kind

    def sizes(self):
        return range(1, self.neighbours + 1)


class CondensedNN(Cleaning):
    """Keeps of a class what the nearest row needs to tell it from the rarest one.

    From the rarest class and a random row of the class on, rows are passed once in their order; one
    to which the rarest class is as near as the rows kept so far is kept too. Hart passes until
    nothing is added; once is imbalanced-learn's way. What is left depends on the border, not on a
    size aimed at, so it corrects no prior.

    Written here: imbalanced-learn's takes a row's place in its class for its place in the table
    and so passes over some, and it searches all kept rows anew after each one added.
    """

    name = "condensed-nn"
    reference = "doi:10.1109/TIT.1968.1054155"

    def kept(self, x, y, classes, run):
        x = x.astype(np.float64)
        chance = np.random.RandomState(run.seed)
        kept = ~np.isin(y, classes)
        for c in classes:
            places = np.flatnonzero(y == c)
            rows = x[places]
            foreign, own = np.full((2, len(rows)), np.inf)
            for other in x[y == 0]:
                np.minimum(foreign, squares(rows - other), out=foreign)
            for row in [chance.randint(len(rows)), *range(len(rows))]:
                if foreign[row] <= own[row]:
                    kept[places[row]] = True
                    np.minimum(own, squares(rows - rows[row]), out=own)
        return kept


class OneSidedSelection(Cleaning):
    """Keeps a random row of a class and those nearer to the rarest class than to it, without links.

    The rows of Tomek links are removed at the end. What is left depends on the border, not on a
    size aimed at, so it corrects no prior. Wraps imbalanced-learn's OneSidedSelection.
    """

    name = "one-sided-selection"
    reference = "ICML 1997, Kubat and Matwin"

    def kept(self, x, y, classes, run):
        return chosen(samplers.OneSidedSelection(random_state=run.seed), x, y, classes.tolist())


class NeighbourhoodCleaning(Cleaning):
    """ENN by vote, and removes the neighbours of those rows of the rarest class that they outvote.

    In that second part the row itself has a vote, as in imbalanced-learn, whose
    NeighbourhoodCleaningRule this wraps. It evens out nothing, so it corrects no prior.
    """

    name = "neighbourhood-cleaning"
    reference = "doi:10.1007/3-540-48229-6_9"
    space = {"neighbours": Integer(1, 9)}

    def __init__(self, neighbours: Count = 3):
        self.neighbours = neighbours

    def kept(self, x, y, classes, run):
        k = at_most(len(x) - 1, self.neighbours, run)
        return chosen(samplers.NeighbourhoodCleaningRule(n_neighbors=k), x, y, classes.tolist())


class InstanceHardness(Cleaning):
    """Keeps as many rows of each class as the rarest has, those a random forest finds easiest.

    Easy is a row of high probability of its class, by forests of `trees` trees that did not see it,
    trained in `folds` folds. Rows as easy as the last one kept are all kept, so classes may end
    larger. Wraps imbalanced-learn's InstanceHardnessThreshold.
    """

    name = "instance-hardness"
    reference = "doi:10.1007/s10994-013-5422-z"
    corrects = "prior"

    def __init__(self, trees: Count = 100, folds: Folds = 5):
        self.trees = trees
        self.folds = folds

    def kept(self, x, y, classes, run):
        counts = np.bincount(y)
        folds = int(min(self.folds, counts.max()))
        if folds < self.folds:
            run.note(f"largest class of {folds} rows: {folds} of {self.folds} folds")
        forest = RandomForestClassifier(self.trees, random_state=run.seed)
        sampler = samplers.InstanceHardnessThreshold(
            estimator=forest, random_state=run.seed, cv=folds
        )
        return chosen(sampler, x, y, dict.fromkeys(classes.tolist(), int(counts.min())))


class SMOTEENN(SMOTE):
    """SMOTE, then ENN on all classes, the grown ones too.

    Rows are removed if any of `nearby` neighbours is foreign; with kind "mode", if most are. A
    class that would lose all rows keeps its original ones, which is our choice. The rules are
    those of `smote` and `enn`; imbalanced-learn's SMOTEENN does the same.
    """

    name = "smote-enn"
    reference = "doi:10.1145/1007730.1007735"
    space = {"neighbours": Integer(2, 10), "nearby": Integer(1, 9)}

    def __init__(self, neighbours: Count = 5, nearby: Count = 3, kind: Kind = "all"):
        self.neighbours = neighbours
        self.nearby = nearby
        self.kind = kind

    def cleaning(self):
        return ENN(self.nearby, self.kind)

    def resample(self, train, run):
        grown = super().resample(train, run)
        x, y = table(grown)
        kept = self.cleaning().kept(x, y, np.unique(y), run)
        return remaining(grown, y, kept, run, originals=len(train))


class SMOTETomek(SMOTEENN):
    """SMOTE, then both rows of every Tomek link are removed, once: links that arise by it stay.

    A class that would lose all rows keeps its original ones, which is our choice. The rules are
    those of `smote` and `tomek-links`; imbalanced-learn's SMOTETomek does the same.
    """

    name = "smote-tomek"
    space = {"neighbours": Integer(2, 10)}

    def __init__(self, neighbours: Count = 5):
        self.neighbours = neighbours

    def cleaning(self):
        return TomekLinks()


def table(rows):
    """The rows as numbers [N, D], and their classes [N] numbered from the rarest on.

    Numbering by size, equal ones as they first appear, keeps a class's own number out of every
    draw and vote.
    """
    x, labels = rows.inputs.flatten(1).cpu().numpy(), rows.labels.cpu().numpy()
    if not rows.inputs.is_floating_point():
        x = x.astype(np.float32)
    _, first, y, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    return x, np.lexsort((first, counts)).argsort()[y]


def larger(y, run):
    """The classes that have more rows than the rarest."""
    counts = np.bincount(y)
    if counts.min() == counts.max():
        run.note("no class is rarer than the others: nothing removed")
    return np.flatnonzero(counts > counts.min())


def at_most(most, neighbours, run):
    """As many neighbours as there are, up to `neighbours`."""
    if most < neighbours:
        run.note(f"{most + 1} rows: {most} of {neighbours} neighbours")
    return min(most, neighbours)


def squares(rows):
    """The squared length of each row."""
    return np.einsum("nd,nd->n", rows, rows)


def chosen(sampler, x, y, strategy):
    """Which rows [N] a sampler of imbalanced-learn keeps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on rows that are few, which the rules here allow for
        sampler.set_params(sampling_strategy=strategy).fit_resample(x, y)
    return np.isin(np.arange(len(x)), sampler.sample_indices_)


def remaining(rows, y, kept, run, originals=None):
    """The rows that are `kept` [N], and of classes of which none is, the first `originals`."""
    emptied = np.setdiff1d(y, y[kept])
    if len(emptied):
        run.note("classes that would lose all rows: original rows kept")
    original = np.arange(len(y)) < (len(y) if originals is None else originals)
    index = np.flatnonzero(kept | (original & np.isin(y, emptied)))
    return rows[torch.from_numpy(index).to(rows.labels.device)]


@hookimpl
def register_methods(register):
    register(TomekLinks)
    register(ENN)
    register(RepeatedENN)
    register(AllKNN)
    register(CondensedNN)
    register(OneSidedSelection)
    register(NeighbourhoodCleaning)
    register(InstanceHardness)
    register(SMOTEENN)
    register(SMOTETomek)
