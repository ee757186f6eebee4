"""Full fine-tuning: all of a pre-trained network learns, what it brought more slowly."""

from ltbench import NonNegative, Uniform, hookimpl
from ltbench.contract.optimizers import SGD
from ltbench.tracks.finetuning.contract import BACKBONES, FineTuner


class FullFinetune(FineTuner):
    """Trains the head at the protocol's learning rate, and all else at `rate` times that.

    At rate 1 it is `erm`, which lets all of the first pre-trained network learn. The default is a
    custom of the field.
    """

    name = "full-finetune"
    reference = "arXiv:1411.1792"
    needs = frozenset({BACKBONES})
    neutral = {"rate": 1.0}
    space = {"rate": Uniform(0.0, 1.0)}

    def __init__(self, rate: NonNegative = 0.1):
        self.rate = rate

    def optimizer(self, model, run):
        phase, groups = run.phase, {"": [], "head": []}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                groups["head" if name.startswith("head.") else ""].append(parameter)
        rates = {"": self.rate * phase.lr, "head": phase.lr}
        return SGD(
            [{"params": part, "lr": rates[name]} for name, part in groups.items() if part],
            lr=phase.lr,
            momentum=phase.momentum,
            nesterov=phase.nesterov,
            weight_decay=phase.weight_decay,
        )


@hookimpl
def register_methods(register):
    register(FullFinetune)
