"""DatasetEquity: rows of a likely kind count less (Shrivastava et al., ICCV workshops 2023)."""

from ltbench import LogUniform, Method, NonNegative, Uniform, hookimpl


class DatasetEquity(Method):
    """Weighs a row of likelihood P by (eta + (1 - P)^gamma) / (eta + 1).

    The paper takes for P the share of a row's cluster among deep features of all images. Here it
    is the share of the row's class, a stand-in that needs no other network; where every class is
    small, all weights are near one. The defaults are those of the paper's code, which multiplies
    the loss; here the divisor is the sum of the weights in the batch.
    """

    name = "dataset-equity"
    reference = "arXiv:2308.09878"
    corrects = "prior"
    neutral = {"gamma": 0.0}
    space = {"eta": LogUniform(0.1, 10.0), "gamma": Uniform(1.0, 10.0)}

    def __init__(self, eta: NonNegative = 1.0, gamma: NonNegative = 5.0):
        self.eta = eta
        self.gamma = gamma

    def prepare(self, run):
        self.weights = (self.eta + (1 - run.seen) ** self.gamma) / (self.eta + 1)

    def weight(self, labels, run):
        return self.weights[labels]


@hookimpl
def register_methods(register):
    register(DatasetEquity)
