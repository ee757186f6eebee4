"""A track whose board stands or falls with its measures; its cells are never run."""

from ltbench import Measure, Protocol, Table, Track
from ltbench.protocols.schema import Imbalance
from ltbench.scoring.measures import FIRST

HARBOUR = """
name = "harbour"
version = 1
track = "ranging"
description = "How far away a ship is."
recipes = ["erm"]
seeds = 3
contrasts = [["bounded", "erm"], ["erm", "bounded"], ["bounded", "oracle"]]
beacons = 4
asked = ["error", "hits"]
compute = {threads = 1}
"""
TAIL = """
[imbalance]
profile = "exponential"
n_max = 400
factor = FACTOR
class_order = "label"
draw = "fixed"
"""


class Ranging(Protocol, frozen=True, kw_only=True, tag="ranging"):
    beacons: int
    asked: tuple[str, ...]
    imbalance: Imbalance | None = None


class RangingTrack(Track[Ranging]):
    """Distances are told from few beacons."""

    name = "ranging"
    problem = Ranging
    loss = "drift"
    measures = (
        Measure(
            "error",
            "mean error",
            "*mean error*: over {0.beacons} beacons",
            better="lower",
            unit="m",
            form="{:.2f}",
        ),
        Measure("hits", explanation="*hits*: ships within a metre", table=FIRST, chosen=True),
        Measure("misses", chosen=True),
        Measure("drift", better="lower", unit="m", form="{:.2f}", table=FIRST),
        Measure("excess", "over plain", better="lower", unit="x", stored=False),
        Measure("flash", "storage", unit="kB", table="device", typical="median"),
        Measure("memory", "storage", unit="kB", table="device", typical="median"),
    )
    tables = (Table("device", ("Of {0.beacons} beacons",), ("*storage*: flash, memory, in kB",)),)

    def load(self, registry, protocol):
        raise NotImplementedError

    def seconds(self, protocol, source, device):
        raise NotImplementedError

    def run(self, protocol, recipe, seed, source, device):
        raise NotImplementedError

    def shown(self, protocol):
        return list(protocol.asked)

    def derived(self, protocol, grid):
        return {"excess": grid.values["error"] / grid.row("error", "erm")}
