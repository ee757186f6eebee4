"""A pull towards the parameters that came from the server (Li et al., MLSys 2020)."""

from ltbench import LogUniform, NonNegative, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating, received_by


class FedProx(Federating):
    """Adds mu / 2 |w - w_received|^2 to the loss of a client, over all parameters that learn.

    mu is 0.01, the default of the authors' optimizer; the paper tunes it among 0.001 to 1. What
    was not received, as a head of the client's own, is not pulled.
    """

    name = "fedprox"
    reference = "arXiv:1812.06127"
    needs = frozenset({CLIENTS})
    neutral = {"mu": 0.0}
    space = {"mu": LogUniform(1e-3, 1.0)}

    def __init__(self, mu: NonNegative = 0.01):
        self.mu = mu

    def extra(self, output, batch, run):
        received = received_by(run)
        if not self.mu or run.model is None:
            return None
        gaps = [
            (parameter - received[name]).square().sum()
            for name, parameter in run.model.named_parameters()
            if name in received and parameter.requires_grad
        ]
        return self.mu / 2 * sum(gaps) if gaps else None


@hookimpl
def register_methods(register):
    register(FedProx)
