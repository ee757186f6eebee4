"""The balanced ensembles of imbalanced-learn: EasyEnsemble, balanced bagging, balanced forests.

EasyEnsemble: Liu et al., IEEE TSMC-B 2009. Balanced bagging: Hido et al., SADM 2009, who call it
exactly balanced. Balanced random forests: Chen et al., technical report 666, Berkeley 2004.
"""

import imblearn.ensemble as ensembles
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.utils.validation import has_fit_parameter

from ltbench import Integer, LTBenchError, Method, hookimpl
from ltbench.errors import Unmet
from ltbench_plugins.tables.balanced_bags import Count, chance, expect_learner, for_bags


class EasyEnsemble(Method):
    """Averages learners on bags of the rarest class whole and as many rows of each other one.

    The paper boosts on each bag, ten rounds of AdaBoost on four bags, and adds all up. By our
    choice each of ten `members` is the base learner itself, so that rows of a table compare;
    `boosts` more than 1 is the number of AdaBoost's rounds of it on each bag. Wraps
    imbalanced-learn's EasyEnsembleClassifier, which averages probabilities.
    """

    name = "easy-ensemble"
    reference = "doi:10.1109/TSMCB.2008.2007853"
    corrects = "prior"
    models = frozenset({"estimator"})
    space = {"boosts": Integer(1, 10)}

    def __init__(self, members: Count = 10, boosts: Count = 1):
        self.members = members
        self.boosts = boosts

    def build(self, model, run):
        base = for_bags(model, run)
        if self.boosts > 1:
            if not has_fit_parameter(base, "sample_weight"):
                raise Unmet(
                    f"AdaBoost weighs rows, which {type(base).__name__} cannot; use boosts=1"
                )
            base = AdaBoostClassifier(base, n_estimators=self.boosts)
        return EasyEnsembleBags(self.members, base, random_state=chance(run))


class BalancedBagging(Method):
    """Averages learners on bags of as many rows of each class as the rarest has, bootstrapped.

    Wraps imbalanced-learn's BalancedBaggingClassifier with `replacement` in place of `bootstrap`.
    By its own default it bootstraps all rows first and then balances what it drew, so that the
    size of bags varies and a class of few rows may be missing.
    """

    name = "balanced-bagging"
    reference = "doi:10.1002/sam.10061"
    corrects = "prior"
    models = frozenset({"estimator"})

    def __init__(self, members: Count = 10):
        self.members = members

    def build(self, model, run):
        drawn = {"bootstrap": False, "replacement": True, "sampling_strategy": "all"}
        base = for_bags(model, run)
        return BootstrappedBags(base, self.members, random_state=chance(run), **drawn)


class BalancedRandomForest(Method):
    """A random forest each of whose trees sees as many rows of each class as the rarest has.

    They are drawn with replacement, as in the paper. Takes the place of a random forest and keeps
    its parameters, the number of trees among them; its own bootstrap is left out. Wraps
    imbalanced-learn's BalancedRandomForestClassifier.
    """

    name = "balanced-random-forest"
    reference = "statistics.berkeley.edu/tech-reports/666"
    corrects = "prior"
    models = frozenset({"estimator"})

    def build(self, model, run):
        expect_learner(
            model, RandomForestClassifier, f"{self.name} takes the place of a random forest"
        )
        forest = ensembles.BalancedRandomForestClassifier(random_state=chance(run))
        own = {"bootstrap", "max_samples", "oob_score", "random_state"}
        kept = {name: value for name, value in model.get_params().items() if name not in own}
        return forest.set_params(**kept)


class EasyEnsembleBags(ensembles.EasyEnsembleClassifier):
    """imbalanced-learn's, which says that it weighs no rows."""

    def fit(self, X, y, sample_weight=None):
        refuse_weights("easy-ensemble", sample_weight)
        try:
            return super().fit(X, y)
        except ValueError as error:
            if "worse than random" not in str(error):
                raise
            raise LTBenchError("easy-ensemble: AdaBoost fails on a bag; use boosts=1") from None


class BootstrappedBags(ensembles.BalancedBaggingClassifier):
    """imbalanced-learn's, which says that it weighs no rows."""

    def fit(self, X, y, sample_weight=None):
        refuse_weights("balanced-bagging", sample_weight)
        return super().fit(X, y)


def refuse_weights(name, weight):
    if weight is not None:
        raise Unmet(f"{name} of imbalanced-learn weighs no rows; under-bagging does")


@hookimpl
def register_methods(register):
    register(EasyEnsemble)
    register(BalancedBagging)
    register(BalancedRandomForest)
