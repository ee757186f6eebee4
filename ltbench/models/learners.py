"""Base learners for tables: classifiers of well-kept libraries, by name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ltbench.contract.parts import LEARNERS, Part
from ltbench.errors import LTBenchError, UnknownName
from ltbench.texts import line

MEMBERS = ("fit", "predict_proba", "get_params", "set_params")
NETWORK = "mlp"  # the one learner that is trained by the engine

ESTIMATORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "logistic": ("sklearn.linear_model", "LogisticRegression", {"max_iter": 1000}),
    "knn": ("sklearn.neighbors", "KNeighborsClassifier", {}),
    "tree": ("sklearn.tree", "DecisionTreeClassifier", {}),
    "forest": ("sklearn.ensemble", "RandomForestClassifier", {}),
    "boosting": ("sklearn.ensemble", "HistGradientBoostingClassifier", {"early_stopping": False}),
    "xgboost": ("xgboost", "XGBClassifier", {"n_jobs": 1, "tree_method": "hist"}),
    "lightgbm": (
        "lightgbm",
        "LGBMClassifier",
        {"n_jobs": 1, "verbose": -1, "deterministic": True, "force_row_wise": True},
    ),
}
"""Module, class and what differs from the library's defaults."""


def own() -> list[str]:
    """The learners that come with ltbench."""
    return sorted([*ESTIMATORS, NETWORK])


def known() -> list[str]:
    """Those, and what plugins have brought."""
    return sorted({*own(), *LEARNERS.parts})


def check(learners: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes sure that all of a protocol's learners can be built.

    Raises:
        LTBenchError: a learner or a parameter is unknown, or its library is not installed.
    """
    for name, parameters in learners.items():
        if name == NETWORK:
            continue
        takes = _plain(name).get_params()
        for parameter in sorted(set(parameters) - set(takes))[:1]:
            where = f"parameters of {type(_plain(name)).__name__}"
            raise UnknownName(f"parameter of {name}", parameter, takes, where=where)


def build(name: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """An unfitted classifier whose chance is `seed`."""
    part = _part(name)
    estimator = part.make(**{**part.options, **parameters})
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    return estimator


def version(name: str) -> str:
    """The version of a learner's library; that of torch is told with the machine."""
    if name == NETWORK:
        return ""
    module = ESTIMATORS[name][0] if name in ESTIMATORS else type(_plain(name)).__module__
    return str(getattr(import_module(module.partition(".")[0]), "__version__", ""))


def _plain(name: str) -> Any:
    """A learner without further parameters.

    Raises:
        LTBenchError: it is unknown, not installed, or a plugin's that is none.
    """
    part = _part(name)
    try:
        estimator = part.make(**part.options)
    except TypeError as error:
        raise LTBenchError(f"learner {name} cannot be made: {line(error)}") from None
    lacks = [one for one in MEMBERS if not hasattr(estimator, one)]
    if lacks:
        raise LTBenchError(
            f"learner {name} of {part.module} lacks {', '.join(lacks)}; a learner is a classifier "
            "of scikit-learn's kind"
        )
    return estimator


def _part(name: str) -> Part:
    if name in LEARNERS.parts:
        return LEARNERS.parts[name]
    if name not in ESTIMATORS:
        raise UnknownName("learner", name, known(), where="in the protocol's [learners]")
    module, kind, options = ESTIMATORS[name]
    try:
        return Part(getattr(import_module(module), kind), options, module)
    except ImportError:
        raise LTBenchError(f"learner {name} needs {module}: pip install 'ltbench[trees]'") from None
