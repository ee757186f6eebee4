"""Scores scaled class by class while training, with an offset or without.

Vector scaling: Kini et al., NeurIPS 2021. Class-dependent temperatures: Ye et al., 2020.
"""

from ltbench import Method, NonNegative, Uniform, hookimpl


class VS(Method):
    """Trains on z_c * (n_c / n_max)^gamma + tau * log(prior_c).

    gamma 0 is logit adjustment, tau 0 is CDT. The paper writes the factor as a multiplier, its
    code divides by the inverse; they are the same.
    """

    name = "vs"
    reference = "arXiv:2103.01550"
    corrects = "prior"
    neutral = {"gamma": 0.0, "tau": 0.0}
    space = {"gamma": Uniform(0.0, 0.4), "tau": Uniform(0.5, 2.0)}  # gamma as searched on CIFAR-10

    def __init__(self, gamma: NonNegative = 0.3, tau: float = 1.0):
        self.gamma = gamma
        self.tau = tau

    def prepare(self, run):
        self.factor = (run.seen / run.seen.max()) ** self.gamma
        self.offset = self.tau * run.seen.log()

    def adjust(self, scores, labels, run):
        return scores * self.factor + self.offset


class CDT(Method):
    """Divides the score of class c by a_c = (n_max / n_c)^gamma while training.

    The largest class keeps its scores; those of rare classes shrink, so that training lifts them.
    This is `vs` with tau 0. gamma 0.3 is the default of that method's code; CDT's is tuned for
    each data set, over 0 to 0.4 on CIFAR-10 and 0 to 0.2 on CIFAR-100 according to BagofTricks-LT.
    A short budget asks for a smaller gamma.
    """

    name = "cdt"
    reference = "arXiv:2001.01385"
    corrects = "prior"
    neutral = {"gamma": 0.0}
    space = {"gamma": Uniform(0.0, 0.4)}  # as searched on CIFAR-10

    def __init__(self, gamma: NonNegative = 0.3):
        self.gamma = gamma

    def prepare(self, run):
        self.temperature = (run.seen.max() / run.seen) ** self.gamma

    def adjust(self, scores, labels, run):
        return scores / self.temperature


@hookimpl
def register_methods(register):
    register(VS)
    register(CDT)
