"""Training without the others, and further training for oneself: what others are read against."""

from ltbench import Positive, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating


class Local(Federating):
    """Each client trains a network of its own; nothing is shared.

    It has the rounds of the protocol, so as many epochs as with the others. There is no network
    that all have: what is told of one is the mean over those of clients.
    """

    name = "local"
    reference = "none: training without communication"
    needs = frozenset({CLIENTS})

    def enter(self, train, run):
        if getattr(self, "own", None):
            run.model.load_state_dict(self.own)
        return train

    def report(self, model, rows, run):
        self.own = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def aggregate(self, updates, run):
        return None

    def personal(self, model, rows, run):
        if getattr(self, "own", None):  # else it was never chosen
            model.load_state_dict(self.own)
        return model


class FineTune(Federating):
    """Each client trains the network of all further on its rows, plainly, for itself.

    `epochs` are as many as a round of our protocols on digits has, `rate` is a multiple of the
    protocol's; both are our choice. With no epochs it is the network of all.
    """

    name = "fine-tune"
    reference = "none: a baseline of personalised federated learning"
    needs = frozenset({CLIENTS})
    neutral = {"epochs": 0}

    def __init__(self, epochs: int = 3, rate: Positive = 1.0):
        self.epochs = epochs
        self.rate = rate

    def personal(self, model, rows, run):
        if self.epochs > 0:
            run.granted.train(self.epochs, self.rate * run.phase.lr)
        return run.model


@hookimpl
def register_methods(register):
    register(Local)
    register(FineTune)
