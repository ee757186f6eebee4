"""The names of all metrics, apart from what computes them, so that reading them costs nothing."""

NAMES = (
    "balanced_accuracy",
    "accuracy",
    "many",
    "medium",
    "few",
    "worst_class",
    "g_mean",
    "macro_f1",
    "macro_auc",
    "expected_calibration_error",
)
"""Of networks, in the order of their tables."""

TABULAR_NAMES = (
    "f1",
    "f1_tuned",
    "g_mean",
    "average_precision",
    "brier",
    "balanced_accuracy",
    "matthews",
    "f2",
    "auc",
    "log_loss",
    "expected_calibration_error",
)
"""Of learners on tables."""
