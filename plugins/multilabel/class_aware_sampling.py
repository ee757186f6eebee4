"""Class-aware sampling (Shen et al., ECCV 2016) of rows with several labels."""

from ltbench import hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod


class ClassAwareSampling(LabelMethod):
    """Draws a label, any as likely, and a row that has it: a row's chance is the sum of 1 / n_c.

    Frequent labels that stand beside rare ones are drawn with them, more often than chance, which
    distribution-balanced loss is to mend; its code walks through the rows of a label in turn, where
    each draw is anew here. A row without labels is never drawn.
    """

    name = "class-aware-sampling"
    reference = "arXiv:1512.05830"
    corrects = "prior"

    def sampling_weights(self, labels, run):
        return (labels / run.counts).sum(dim=1)


@hookimpl
def register_methods(register):
    register(ClassAwareSampling)
