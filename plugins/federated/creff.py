"""A classifier re-trained on features that a server makes (Shang et al., IJCAI 2022)."""

import torch
import torch.nn.functional as F

from ltbench import Positive, hookimpl
from ltbench.tracks.federated.contract import CLIENTS, Federating, averaged, last_layer, received_by

GRADIENTS, THERE = "class_gradients", "classes_there"  # what clients report
HEAD = "retrained"  # under which its rows travel


class CReFF(Federating):
    """FedAvg, beside which the server makes `features` features a class, and of them a classifier.

    A client sends the gradient [C, D + 1] of the loss of the server's classifier on its rows of
    each class. The server takes the plain mean over clients that have the class, and moves its
    features so that the gradient on them points the same way, row by row: `matching` steps of SGD
    at `feature_rate`. Then a fresh classifier is trained on them for `epochs` epochs at `rate`.
    That decides, and gives the gradients of the next round; the network of all goes on with its
    own.

    Departures: its code draws batches of a class ten times and augments them by siamese
    augmentation, we take all rows once, as they are. It trains its classifier in batches at 0.01,
    we on all features at once at ten times the rate.
    """

    name = "creff"
    reference = "arXiv:2204.13399"
    needs = frozenset({CLIENTS})
    corrects = "prior"

    def __init__(
        self,
        features: int = 100,
        matching: int = 100,
        epochs: int = 300,
        feature_rate: Positive = 0.1,
        rate: Positive = 0.1,
    ):
        self.features = features
        self.matching = matching
        self.epochs = epochs
        self.feature_rate = feature_rate
        self.rate = rate

    def report(self, model, rows, run):
        features = run.features(rows.inputs)
        gradients = class_gradients(asking(run), features, rows.labels)
        return {GRADIENTS: gradients, THERE: (run.exact_counts > 0).to(gradients)}

    def aggregate(self, updates, run):
        there = torch.stack([update.reported[THERE] for update in updates])
        every = torch.stack([update.reported[GRADIENTS] for update in updates])
        number = there.sum(dim=0)
        wanted = torch.einsum("kc,kcjd->cjd", there, every) / number.clamp(min=1)[:, None, None]
        head = asking(run)
        if not hasattr(self, "made"):
            shape = (run.num_classes, self.features, head.shape[1] - 1)
            self.made = drawn(shape, head, run)
        steps = self.matching, self.feature_rate
        self.made = matched(self.made, head, wanted, number > 0, *steps)
        fresh = retrained(self.made, drawn(head.shape, head, run), self.epochs, self.rate)
        nothing = torch.zeros(0)  # clients need no gradients of others
        return {**averaged(updates), HEAD: fresh, GRADIENTS: nothing, THERE: nothing}

    def finish(self, model, validation, run):
        head = received_by(run).get(HEAD)
        if head is not None:
            model.head.weight.copy_(head[:, :-1])
            model.head.bias.copy_(head[:, -1])
        return model


def asking(run):
    """The classifier [C, D + 1], weights beside biases, whose gradients clients tell in a round.

    In the first round it is that of the network.
    """
    received = received_by(run)
    return received[HEAD] if HEAD in received else last_layer(received, "creff")


def drawn(shape, like, run):
    return torch.randn(shape, generator=run.rng, device=run.rng.device).to(like)


def class_gradients(head, features, labels):
    """The gradient [C, C, D + 1] of the mean loss of each class's rows; 0 for one without rows.

    Features are [N, D].
    """
    features = F.pad(features, (0, 1), value=1.0)
    one_hot = F.one_hot(labels, len(head)).to(features)
    wrong = torch.softmax(features @ head.T, dim=1) - one_hot
    means = one_hot / one_hot.sum(dim=0).clamp(min=1)
    return torch.einsum("nc,nj,nd->cjd", means, wrong, features)


def made_gradients(head, made):
    """The same of features [C, M, D] that the server made, as many of each class."""
    made = F.pad(made, (0, 1), value=1.0)
    wrong = torch.softmax(made @ head.T, dim=2) - torch.eye(len(head)).to(made)[:, None]
    return wrong.mT @ made / made.shape[1]


def match_loss(found, wanted):
    """How far two gradients [..., C, D + 1] point apart: 1 - cosine, over rows of weights, and once
    over all biases, added up."""
    biases = found[..., -1], wanted[..., -1]
    pairs = (found[..., :-1], wanted[..., :-1]), biases
    return sum((1 - cosine(*pair)).sum() for pair in pairs)


def cosine(a, b):
    return (a * b).sum(dim=-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-6)


def matched(made, head, wanted, asked, steps, rate):
    """The features after some steps of SGD on `match_loss`; those of classes not `asked` stay."""
    made = made.clone().requires_grad_()
    with torch.enable_grad():
        for _ in range(steps):
            loss = match_loss(made_gradients(head, made)[asked], wanted[asked])
            (gradient,) = torch.autograd.grad(loss, made)
            made = (made - rate * gradient).detach().requires_grad_()
    return made.detach()


def retrained(made, head, epochs, rate):
    """A classifier [C, D + 1] after some epochs of SGD on all features [C, M, D] at once."""
    weight = head / head.shape[1] ** 0.5
    for _ in range(epochs):
        weight = weight - rate * made_gradients(weight, made).mean(dim=0)
    return weight


@hookimpl
def register_methods(register):
    register(CReFF)
