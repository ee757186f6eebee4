"""ltbench: a plugin-based benchmark suite for class-imbalanced and long-tailed learning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ltbench.context import Batch as Batch
    from ltbench.context import Output as Output
    from ltbench.context import Phase as Phase
    from ltbench.context import Rows as Rows
    from ltbench.context import Run as Run
    from ltbench.datasets import Dataset as Dataset
    from ltbench.errors import LTBenchError as LTBenchError
    from ltbench.execute import run as run
    from ltbench.heads import CosineHead as CosineHead
    from ltbench.heads import head_weights as head_weights
    from ltbench.hookspecs import hookimpl as hookimpl
    from ltbench.leaderboards import leaderboard as leaderboard
    from ltbench.method import Method as Method
    from ltbench.method import NonNegative as NonNegative
    from ltbench.method import Positive as Positive
    from ltbench.method import Share as Share
    from ltbench.observers import Observer as Observer
    from ltbench.recipes import Recipe as Recipe
    from ltbench.registry import protocol as protocol
    from ltbench.registry import recipe as recipe

_HOMES = {
    "Batch": "context",
    "Output": "context",
    "Phase": "context",
    "Rows": "context",
    "Run": "context",
    "Dataset": "datasets",
    "LTBenchError": "errors",
    "Observer": "observers",
    "CosineHead": "heads",
    "head_weights": "heads",
    "run": "execute",
    "hookimpl": "hookspecs",
    "leaderboard": "leaderboards",
    "Method": "method",
    "NonNegative": "method",
    "Positive": "method",
    "Share": "method",
    "Recipe": "recipes",
    "protocol": "registry",
    "recipe": "registry",
}


def __getattr__(name: str) -> Any:
    """Public names load their module when first used, so that `import ltbench` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ltbench' has no attribute {name!r}")
    return getattr(import_module(f"ltbench.{_HOMES[name]}"), name)
