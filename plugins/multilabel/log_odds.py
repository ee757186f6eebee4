"""Log odds: logit adjustment (Menon et al., ICLR 2021) where a row has several labels."""

from ltbench import NonNegative, Uniform, hookimpl
from ltbench.tracks.multilabel.contract import LabelMethod
from ltbench_plugins.multilabel.positive_weights import odds


class LogOdds(LabelMethod):
    """Adds tau * log(n_c / (N - n_c)) to the score of each label while training.

    The paper's is for one class a row, where it adds log(prior). Each label is a question of its
    own here, whose prior enters by its odds (our form).
    """

    name = "log-odds"
    reference = "arXiv:2007.07314"
    corrects = "prior"
    neutral = {"tau": 0.0}
    space = {"tau": Uniform(0.0, 2.0)}

    def __init__(self, tau: NonNegative = 1.0):
        self.tau = tau

    def adjust(self, scores, labels, run):
        return scores + self.tau * odds(run).log()


@hookimpl
def register_methods(register):
    register(LogOdds)
