"""ltbench: a plugin-based benchmark suite for class-imbalanced and long-tailed learning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ltbench.api import leaderboard as leaderboard
    from ltbench.api import protocol as protocol
    from ltbench.api import recalls as recalls
    from ltbench.api import recipe as recipe
    from ltbench.api import records as records
    from ltbench.api import run as run
    from ltbench.contract.context import Batch as Batch
    from ltbench.contract.context import Grants as Grants
    from ltbench.contract.context import Output as Output
    from ltbench.contract.context import Phase as Phase
    from ltbench.contract.context import Rows as Rows
    from ltbench.contract.context import Run as Run
    from ltbench.contract.hookspecs import hookimpl as hookimpl
    from ltbench.contract.method import Method as Method
    from ltbench.contract.method import NonNegative as NonNegative
    from ltbench.contract.method import Positive as Positive
    from ltbench.contract.method import Rule as Rule
    from ltbench.contract.method import Share as Share
    from ltbench.contract.method import hook as hook
    from ltbench.contract.method import hooks as hooks
    from ltbench.contract.method import one as one
    from ltbench.contract.recipes import Recipe as Recipe
    from ltbench.contract.spaces import Choice as Choice
    from ltbench.contract.spaces import Integer as Integer
    from ltbench.contract.spaces import LogUniform as LogUniform
    from ltbench.contract.spaces import Uniform as Uniform
    from ltbench.contract.track import Answer as Answer
    from ltbench.contract.track import Asked as Asked
    from ltbench.contract.track import Board as Board
    from ltbench.contract.track import Divided as Divided
    from ltbench.contract.track import Outcome as Outcome
    from ltbench.contract.track import Sheet as Sheet
    from ltbench.contract.track import Table as Table
    from ltbench.contract.track import Track as Track
    from ltbench.datasets import Dataset as Dataset
    from ltbench.errors import LTBenchError as LTBenchError
    from ltbench.errors import Unmet as Unmet
    from ltbench.models.heads import CosineHead as CosineHead
    from ltbench.models.heads import head_weights as head_weights
    from ltbench.protocols.schema import Protocol as Protocol
    from ltbench.results.records import Timing as Timing
    from ltbench.running.observers import Observer as Observer
    from ltbench.scoring.measures import Measure as Measure

_HOMES = {
    "Answer": "contract.track",
    "Asked": "contract.track",
    "Batch": "contract.context",
    "Board": "contract.track",
    "Choice": "contract.spaces",
    "CosineHead": "models.heads",
    "Dataset": "datasets",
    "Divided": "contract.track",
    "Grants": "contract.context",
    "Integer": "contract.spaces",
    "LTBenchError": "errors",
    "LogUniform": "contract.spaces",
    "Measure": "scoring.measures",
    "Method": "contract.method",
    "NonNegative": "contract.method",
    "Observer": "running.observers",
    "Outcome": "contract.track",
    "Output": "contract.context",
    "Phase": "contract.context",
    "Positive": "contract.method",
    "Protocol": "protocols.schema",
    "Recipe": "contract.recipes",
    "Rows": "contract.context",
    "Rule": "contract.method",
    "Run": "contract.context",
    "Share": "contract.method",
    "Sheet": "contract.track",
    "Table": "contract.track",
    "Timing": "results.records",
    "Track": "contract.track",
    "Uniform": "contract.spaces",
    "Unmet": "errors",
    "head_weights": "models.heads",
    "hook": "contract.method",
    "hookimpl": "contract.hookspecs",
    "hooks": "contract.method",
    "leaderboard": "api",
    "one": "contract.method",
    "protocol": "api",
    "recalls": "api",
    "recipe": "api",
    "records": "api",
    "run": "api",
}

__all__ = [*_HOMES]


def __dir__() -> list[str]:
    return sorted([*_HOMES, "__version__", "__doc__", "__file__", "__name__", "__path__"])


def __getattr__(name: str) -> Any:
    """Public names load their module when first used, so that `import ltbench` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ltbench' has no attribute {name!r}")
    return getattr(import_module(f"ltbench.{_HOMES[name]}"), name)
