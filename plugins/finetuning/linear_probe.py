"""Linear probe: a new linear head on a pre-trained network that stays as it is."""

from ltbench import hookimpl
from ltbench.tracks.finetuning.contract import BACKBONES, FineTuner, Frozen


class LinearProbe(FineTuner):
    """Freezes all of the network but its head; weights and statistics stay to the bit."""

    name = "linear-probe"
    reference = "arXiv:1610.01644"
    needs = frozenset({BACKBONES})

    def tune(self, network, run):
        return Frozen(network)


@hookimpl
def register_methods(register):
    register(LinearProbe)
