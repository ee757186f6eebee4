"""Logit adjustment whose strength is tuned on validation rows (Menon et al., ICLR 2021)."""

from ltbench import Method, NonNegative, hookimpl

TAUS = [step / 10 for step in range(31)]


class LATau(Method):
    """Trains plainly and subtracts tau * log(prior) from the scores, with the tau that does best.

    This is `posthoc-logit-adjustment` with a tau found for the trained network, as the paper
    suggests: the best of 0, 0.1, ..., 3 on validation rows by balanced accuracy, and of equal
    ones the nearest to 1; the grid is our choice. It stays 1 where the protocol has no validation
    rows. Classes without such rows have no say in it. A tau that is given is kept.
    """

    name = "la-tau"
    reference = "arXiv:2007.07314"
    corrects = "prior"
    neutral = {"tau": 0.0}

    def __init__(self, tau: NonNegative | None = None):
        self.tau = tau

    def finish(self, model, validation, run):
        tau = self.tau
        if tau is None and validation is None:
            tau = 1.0
            run.note("no validation rows, so tau stays 1")
        elif tau is None:
            scores = run.scores(validation.inputs)
            tau = best_tau(scores, validation.labels, run.seen.log())
            run.note(f"tau {tau:g} is best on the validation rows")
        model.register_buffer("la_tau", run.counts.new_tensor(tau))  # goes where the network goes
        return model

    def scores(self, scores, run):
        given = 1.0 if self.tau is None else self.tau
        return scores - getattr(run.model, "la_tau", given) * run.seen.log()


def best_tau(scores, labels, log_prior):
    rows = 1 / labels.bincount()[labels]  # so that each class counts the same

    def balanced_accuracy(tau):
        right = (scores - tau * log_prior).argmax(dim=1) == labels
        return round(float((rows * right).sum()), 4)

    return max(TAUS, key=lambda tau: (balanced_accuracy(tau), -abs(tau - 1)))


@hookimpl
def register_methods(register):
    register(LATau)
