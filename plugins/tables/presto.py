"""PRESTO: boundaries between ordered classes, shrunk towards common weights (Faletto & Bien, 2023).

Predicting Rare Events by Shrinking Towards Proportional Odds, ICML 2023.
"""

import numpy as np
from scipy.optimize import Bounds, minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from ltbench import LTBenchError, Method, NonNegative, hookimpl
from ltbench_plugins.tables.balanced_bags import chance, expect_learner

PENALTIES = np.geomspace(1, 0.01, 20)  # in units of the least that leaves no weight, as released
FOLDS = 5
MOST = 20  # classes
SOLVER = {"maxiter": 5000, "maxfun": 10000, "maxcor": 20, "gtol": 1e-6, "ftol": 1e-10}


class PRESTO(Method):
    """A logistic boundary after each class but the last, with weights close to its neighbours'.

    P(y <= k | x) = sigmoid(a_k + x b_k), with an L1 penalty on b_1 and on each b_(k+1) - b_k. Large
    penalties on the differences give the proportional odds model, none separate logistic
    regressions. `penalty` is per row; None chooses one of twenty by the Brier score in five folds,
    as the released code does. `first` is that on b_1 in units of `penalty`, 1 in the paper.

    The paper maximises the likelihood of the classes, which is finite only where no boundaries
    cross; here the losses of the boundaries are summed, so that they may. Where they do, a class
    with a negative probability gets 0 and the others are scaled to 1; `crossings_` of the fitted
    classifier counts the training rows to which that happens. Takes the place of a
    LogisticRegression, none of whose parameters it keeps.
    """

    name = "presto"
    reference = "arXiv:2305.18700"
    needs = frozenset({"ordered"})
    models = frozenset({"estimator"})
    expected_failures = {
        "any number of classes": f"more than {MOST} ordered classes are refused, as the boundaries "
        "of all are fitted a hundred times over"
    }

    def __init__(self, penalty: NonNegative | None = None, first: NonNegative = 1.0):
        self.penalty = penalty
        self.first = first

    def build(self, model, run):
        expect_learner(model, LogisticRegression, "presto takes the place of a LogisticRegression")
        if run.num_classes > MOST:
            raise LTBenchError(
                f"presto fits a boundary after each of {run.num_classes} ordered classes; "
                f"join some, so that there are at most {MOST}"
            )
        return OrderedBoundaries(self.penalty, self.first, chance(run))


class OrderedBoundaries(ClassifierMixin, BaseEstimator):
    """The classifier of PRESTO; `boundaries_` [1 + D, C - 1] has the intercepts in row 0."""

    def __init__(self, penalty=None, first=1.0, random_state=None):
        self.penalty = penalty
        self.first = first
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        x = with_ones(X)
        below = (y[:, None] <= self.classes_[:-1]).astype(float)
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        self.penalty_ = self.penalty
        if self.penalty is None:
            self.penalty_ = self.chosen(x, y, below, weight)
        self.boundaries_ = cumulated(minimised(x, below, weight, self.penalty_, self.first))
        self.crossings_ = int((np.diff(x @ self.boundaries_) < 0).any(axis=1).sum())
        return self

    def chosen(self, x, y, below, weight):
        """The penalty of the least Brier score on rows left out; of equals the largest."""
        rng = np.random.default_rng(self.random_state)
        fold = np.empty(len(y), dtype=int)
        shuffled = rng.permutation(len(y))
        fold[shuffled[y[shuffled].argsort(kind="stable")]] = np.arange(len(y)) % FOLDS
        penalties = PENALTIES * least_that_empties(x, below, weight)
        brier = np.zeros(len(penalties))
        for k in range(FOLDS):
            kept, left = fold != k, fold == k
            start = None
            for i, penalty in enumerate(penalties):
                start = minimised(x[kept], below[kept], weight[kept], penalty, self.first, start)
                scores = probabilities(x[left] @ cumulated(start))
                misses = scores - (y[left, None] == self.classes_)
                brier[i] += (weight[left, None] * misses**2).sum()
        return float(penalties[brier.argmin()])

    def predict_proba(self, X):
        return probabilities(with_ones(X) @ self.boundaries_)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def with_ones(X):
    return np.column_stack([np.ones(len(X)), np.asarray(X, dtype=np.float64)])


def probabilities(scores):
    """Those [N, C] of the classes, by the scores [N, C - 1] of the boundaries."""
    rows = len(scores)
    up_to = np.column_stack([np.zeros(rows), expit(scores), np.ones(rows)])
    positive = np.diff(up_to).clip(min=0)
    return positive / positive.sum(axis=1, keepdims=True)


def cumulated(steps):
    """Boundaries by their intercepts, in row 0, and the steps from one's weights to the next's."""
    return np.vstack([steps[:1], steps[1:].cumsum(axis=1)])


def loss_and_gradient(steps, x, below, weight):
    """The boundaries' summed logistic losses, a mean over rows, and the gradient in the steps."""
    scores = x @ cumulated(steps)
    share = weight[:, None] / weight.sum()
    loss = (share * (np.logaddexp(0, scores) - below * scores)).sum()
    slope = x.T @ (share * (expit(scores) - below))
    return loss, np.vstack([slope[:1], slope[1:, ::-1].cumsum(axis=1)[:, ::-1]])


def minimised(x, below, weight, penalty, first, start=None):
    """The steps at the least penalised loss, by L-BFGS-B on their positive and negative parts."""
    shape = (x.shape[1], below.shape[1])
    shrink = np.full(shape, float(penalty))
    shrink[:, 0] *= first
    shrink[0] = 0

    def penalised(parts):
        up, down = parts.reshape(2, *shape)
        loss, slope = loss_and_gradient(up - down, x, below, weight)
        slopes = np.stack([shrink + slope, shrink - slope])
        return loss + (shrink * (up + down)).sum(), slopes.ravel()

    least, most = np.zeros((2, *shape)), np.full((2, *shape), np.inf)
    least[0, 0], most[1, 0] = -np.inf, 0  # intercepts, which no penalty splits
    start = np.zeros(shape) if start is None else start
    found = minimize(
        penalised,
        np.stack([start, -start]).clip(least, most).ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(least.ravel(), most.ravel()),
        options=SOLVER,
    )
    return np.subtract(*found.x.reshape(2, *shape))


def least_that_empties(x, below, weight):
    """The least penalty at which no boundary has weights, only its intercept."""
    share = (weight @ below / weight.sum()).clip(1e-6, 1 - 1e-6)
    steps = np.zeros((x.shape[1], below.shape[1]))
    steps[0] = np.log(share / (1 - share))
    return np.abs(loss_and_gradient(steps, x, below, weight)[1][1:]).max()


@hookimpl
def register_methods(register):
    register(PRESTO)
