"""Training from scratch: what pre-trained weights are worth is told by doing without."""

from ltbench import hookimpl
from ltbench.tracks.finetuning.contract import BACKBONES, FineTuner


class FromScratch(FineTuner):
    """Draws the weights of the pre-trained network anew, and trains all of it: a control."""

    name = "from-scratch"
    reference = "none: a control"
    needs = frozenset({BACKBONES})

    def tune(self, network, run):
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        return network


@hookimpl
def register_methods(register):
    register(FromScratch)
