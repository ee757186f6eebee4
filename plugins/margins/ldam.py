"""Label-distribution-aware margins on a cosine classifier (Cao et al., NeurIPS 2019)."""

from torch import nn

from ltbench import CosineHead, LTBenchError, Method, NonNegative, Positive, Uniform, hookimpl


class LDAM(Method):
    """Asks a wider margin of rarer classes: m_c = max_margin * (n_min / n_c)^(1/4).

    The head gives scale * cosine; the margin is taken off the true class's cosine, so off its
    score `scale` times.
    """

    name = "ldam"
    reference = "arXiv:1906.07413"
    space = {"max_margin": Uniform(0.1, 1.0)}

    def __init__(self, max_margin: NonNegative = 0.5, scale: Positive = 30.0):
        self.max_margin = max_margin
        self.scale = scale

    def build(self, model, run):
        if not isinstance(model.head, nn.Linear):
            raise LTBenchError("ldam takes the place of a linear head, and there is another here")
        model.head = CosineHead(model.head.in_features, run.num_classes, self.scale)
        return model

    def prepare(self, run):
        margins = run.counts**-0.25
        self.margins = self.max_margin * margins / margins.max()

    def adjust(self, scores, labels, run):
        true = labels[:, None]
        return scores.scatter_add(1, true, -self.scale * self.margins[true])


@hookimpl
def register_methods(register):
    register(LDAM)
