"""Mimicking the whole network's features, then replacing its body (Wang et al., CVPR 2022)."""

import torch.nn.functional as F

from ltbench import LTBenchError, hookimpl
from ltbench_plugins.compression.filter_pruning import Pruned


class MiR(Pruned):
    """Prunes as `l1` does and mimics the features that the teacher's head sees; no labels.

    The head stays the teacher's, as in the code of PRACTISE. The gap is the squared one over the
    mean square of the teacher's features. Departure: features are those the head takes in; where
    the network pools just before it, the paper compares what is pooled.
    """

    name = "mir"
    reference = "arXiv:2201.02620"

    def criterion(self, scores, labels, run):
        return scores.new_zeros(len(scores))

    def mimic(self, output, inputs, run):
        taught = run.granted.taught(inputs).features
        if output.features.shape != taught.shape:
            raise LTBenchError(
                f"{self.name} compares features of one width, but the student's have "
                f"{output.features.shape[1]} and the teacher's {taught.shape[1]}; leave out what "
                "changes the last layer"
            )
        return F.mse_loss(output.features, taught) / taught.square().mean()


@hookimpl
def register_methods(register):
    register(MiR)
