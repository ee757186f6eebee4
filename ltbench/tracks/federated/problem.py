"""The protocols of federated learning."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from ltbench.protocols.schema import AtLeastOne, Classification, NonNegative, Positive, Table


class Federation(Table, frozen=True):
    """Who has which rows, and how often they speak.

    The rows of each class are divided among `clients`. A `division` by "cut" cuts them, shuffled,
    at the shares that a Dirichlet distribution of concentration `alpha` gives, and draws shares
    again until every client has `least` rows. "drawn" draws the client of each row from such
    shares, with no least number (FedLoGe). "equal" makes clients of ten such parts at a time, and
    cuts all of them, one after the other, into clients of equal size (CReFF). "classes" gives each
    client `classes` classes, and an equal part of their rows.

    In each of `rounds` the share `chosen` of the clients trains, for the epochs of the budget. Over
    a `server` one network goes to all; `peers` each have their own, and hear all others. So many of
    the clients, the last ones, are `attackers`, who send `attack` in place of what they trained:
    noise of strength `strength`, or that many times the mean of the others with its sign turned.

    `learn` is the part of the network that learns and is sent, "head" the classifier; all else is
    as everybody drew it before the first round.
    """

    clients: Annotated[int, Meta(ge=2)]
    rounds: AtLeastOne
    alpha: Positive | None = None
    division: Literal["cut", "drawn", "equal", "classes"] = "cut"
    least: AtLeastOne = 1
    classes: AtLeastOne | None = None
    chosen: Annotated[float, Meta(gt=0, le=1)] = 1.0
    topology: Literal["server", "peers"] = "server"
    attackers: Annotated[int, Meta(ge=0)] = 0
    attack: Literal["noise", "turned"] = "noise"
    strength: NonNegative = 1.0
    learn: Literal["", "head"] = ""

    def __post_init__(self) -> None:
        if (self.division == "classes") != (self.classes is not None):
            raise ValueError("classes are for division 'classes', which cannot do without")
        if (self.division == "classes") == (self.alpha is not None):
            raise ValueError(f"division {self.division!r} does not go with alpha {self.alpha}")
        if self.least > 1 and self.division != "cut":
            raise ValueError("least is for division 'cut'; others keep to no least number")
        if self.attackers >= self.clients:
            raise ValueError(f"of {self.clients} clients, {self.attackers} cannot be attackers")
        if self.topology == "peers" and self.chosen < 1:
            raise ValueError("peers all train in each round; leave chosen out")

    @property
    def honest(self) -> int:
        """How many clients, the first ones, send what they trained."""
        return self.clients - self.attackers

    @property
    def a_round(self) -> int:
        """How many clients train in a round."""
        return max(1, round(self.chosen * self.clients))


class Federated(Classification, frozen=True, kw_only=True, tag="federated"):
    """A network is trained on rows that never leave the clients who have them.

    `epochs` of the `budget` are those of a client in a round; its rate falls, and rises, over the
    rounds, and stays as it is within each. `validation_share` of each client's rows are put aside
    for what it may judge others by.
    """

    federation: Federation

    @staticmethod
    def also_required(content: Mapping[str, Any]) -> tuple[str, ...]:
        return Classification.also_required(content)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.label_noise:
            raise ValueError("label_noise is not for this track - at data")
        if self.imbalance.profile == "source" and self.data.validation_share:
            raise ValueError("validation_share is for a profile that is cut - at data")
