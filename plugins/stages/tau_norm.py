"""Tau-normalised classifier: class weights of more equal length (Kang et al., ICLR 2020)."""

import torch

from ltbench import Choice, CosineHead, Method, head_weights, hookimpl


class TauNorm(Method):
    """Divides the weights of each class by their norm to the power tau and drops the bias.

    Where tau is not given, it is the best of 0, 0.1, ..., 2 on validation rows, by balanced
    accuracy, and of equal ones the nearest to 1; 1 where the protocol has no validation rows.
    """

    name = "tau-norm"
    reference = "arXiv:1910.09217"
    corrects = "prior"
    space = {"tau": Choice(None, *(tenths / 10 for tenths in range(21)))}  # the grid of its code

    def __init__(self, tau: float | None = None):
        self.tau = tau

    def finish(self, model, validation, run):
        weight, bias = head_weights(model), getattr(model.head, "bias", None)
        if isinstance(model.head, CosineHead):
            run.note("the lengths of weights do not count in a cosine head: tau changes nothing")
            return model
        tau = self.tau
        if tau is None and validation is None:
            tau = 1.0
            run.note("no validation rows, so tau stays 1")
        elif tau is None:
            tau = best_tau(weight, run.features(validation.inputs), validation.labels)
            run.note(f"tau {tau:g} is best on the validation rows")
        weight.copy_(normalised(weight, tau))
        if bias is not None:
            bias.zero_()
        return model


def normalised(weight, tau):
    """Class weights [C, D] over their norms to the power tau; a class of norm 0 stays as it is."""
    norm = weight.norm(dim=1, keepdim=True)
    return weight / torch.where(norm > 0, norm, 1) ** tau


def best_tau(weight, features, labels):
    rows = 1 / labels.bincount()[labels]  # so that each class counts the same

    def balanced_accuracy(tau):
        right = (features @ normalised(weight, tau).T).argmax(dim=1) == labels
        return round(float((rows * right).sum()), 4)

    taus = [step / 10 for step in range(21)]
    return max(taus, key=lambda tau: (balanced_accuracy(tau), -abs(tau - 1)))


@hookimpl
def register_methods(register):
    register(TauNorm)
