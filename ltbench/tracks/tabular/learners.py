"""Base learners for tables: classifiers of well-kept libraries, by name."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ltbench.errors import LTBenchError, UnknownName

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


def known() -> list[str]:
    return sorted([*ESTIMATORS, NETWORK])


def check(learners: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes sure that all of a protocol's learners can be built.

    Raises:
        LTBenchError: a learner or a parameter is unknown, or its library is not installed.
    """
    for name, parameters in learners.items():
        if name == NETWORK:
            continue
        kind = _kind(name)
        unknown = sorted(set(parameters) - set(kind().get_params()))
        for parameter in unknown[:1]:
            where = f"parameters of {kind.__name__}"
            raise UnknownName(f"parameter of {name}", parameter, kind().get_params(), where=where)


def build(name: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """An unfitted classifier whose chance is `seed`."""
    estimator = _kind(name)(**{**ESTIMATORS[name][2], **parameters})
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    return estimator


def version(name: str) -> str:
    """The version of a learner's library; that of torch is told with the machine."""
    if name == NETWORK:
        return ""
    return str(import_module(ESTIMATORS[name][0].partition(".")[0]).__version__)


def _kind(name: str) -> Callable[..., Any]:
    if name not in ESTIMATORS:
        raise UnknownName("learner", name, known(), where="in the protocol's [learners]")
    module, kind, _ = ESTIMATORS[name]
    try:
        return getattr(import_module(module), kind)  # type: ignore[no-any-return]
    except ImportError:
        raise LTBenchError(f"learner {name} needs {module}: pip install 'ltbench[trees]'") from None
