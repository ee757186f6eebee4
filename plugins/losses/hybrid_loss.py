"""Hybrid loss: mean false error of focal losses (after a paper at ICONIP 2020)."""

import torch.nn.functional as F

from ltbench import hookimpl
from ltbench_plugins.losses.focal import Focal


class HybridLoss(Focal):
    """The focal loss, averaged within each class of the batch and then over those classes.

    Averaging within the classes first is mean false error (Wang et al., IJCNN 2016), which adds up
    the errors of two classes; here the mean replaces the sum, so that the learning rate keeps its
    meaning with any number of classes. The paper hybridizes the two losses for two classes; we
    have its abstract, not its formula, and take the focal loss for the error (our choice). Gamma
    is that of `focal`. Not to be taken for LMFLoss, a hybrid of LDAM and focal.
    """

    name = "hybrid-loss"
    reference = "doi:10.1007/978-3-030-63820-7_92"
    corrects = "prior"
    neutral = None

    def weight(self, labels, run):
        rows = F.one_hot(labels, run.num_classes).sum(dim=0).to(run.counts.dtype)
        return 1 / rows[labels]  # their sum, the divisor, is the number of classes in the batch


@hookimpl
def register_methods(register):
    register(HybridLoss)
