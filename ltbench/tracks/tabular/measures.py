"""What is measured of a learner on a table."""

from ltbench.scoring.measures import Measure


def of_decisions(name: str, label: str) -> Measure:
    return Measure(name, label, f"*{label}*: of decisions, mean over learners")


def of_scores(name: str, label: str, better: str = "lower", unit: str = "%") -> Measure:
    form = "{:.3f}" if unit == "" else ""
    explanation = f"*{label}*: of scores, mean over learners"
    return Measure(name, label, explanation, better=better, unit=unit, form=form)  # type: ignore[arg-type]


MEASURES = (
    of_decisions("f1", "F1"),
    of_decisions("f1_tuned", "F1 tuned"),
    of_decisions("g_mean", "G-mean"),
    of_scores("average_precision", "AUPRC", "higher"),
    of_scores("brier", "Brier"),
    of_decisions("balanced_accuracy", "bal. acc."),
    of_decisions("matthews", "MCC"),
    of_decisions("f2", "F2"),
    of_scores("auc", "AUC", "higher"),
    of_scores("log_loss", "log loss", unit=""),
    of_scores("expected_calibration_error", "ECE"),
)
NAMES = tuple(measure.name for measure in MEASURES)


def ranking_of(rule: str) -> Measure:
    """The measure that ranks by a rule, which is its name or begins with it."""
    name = "f1" if rule == "f1-then-g-mean" else rule
    return MEASURES[NAMES.index(name)]
