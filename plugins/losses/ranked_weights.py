"""Class weights that are the class shares in reverse order, from a tool for code comments."""

import torch

from ltbench import Method, hookimpl


class RankedWeights(Method):
    """Gives the rarest class the largest share as its weight, the next the second largest, and on.

    Of shares 1/2, 2/5, 1/10 the weights are 1/10, 2/5, 1/2: they span as much as inverse
    frequencies do, but sizes in between count by rank. It is the default of a classifier of code
    comments at NLBSE 2025, where comments have several labels, and percents weigh the binary loss
    of each, so that losses grow up to a hundredfold. Here weights are those of rows in
    cross-entropy, and the divisor is their sum in the batch. Classes of equal size share their
    weights, where the released code goes by position.
    """

    name = "ranked-weights"
    reference = "github.com/moritzmock/NLBSE2025"
    corrects = "prior"

    def prepare(self, run):
        self.weights = ranked(run.seen)

    def weight(self, labels, run):
        return self.weights[labels]


def ranked(shares):
    """The shares [C] in reverse order of rank; equal ones get the mean of theirs."""
    given = torch.empty_like(shares)
    given[shares.argsort()] = shares.sort(descending=True).values
    _, group, sizes = shares.unique(return_inverse=True, return_counts=True)
    sums = given.new_zeros(len(sizes)).index_add(0, group, given)
    return (sums / sizes)[group]


@hookimpl
def register_methods(register):
    register(RankedWeights)
