"""The declaration of federated learning: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Check,
    Followed,
    Table,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, Measure, share
from ltbench.tracks import classification
from ltbench.tracks.federated.contract import Federating
from ltbench.tracks.federated.problem import Federated
from ltbench.tracks.federated.track import (
    SUPPLIES,
    OfClients,
    answer,
    divide,
    measured,
    owned,
    seconds,
)

CLIENTS = "clients"  # the table of what clients have


class FederatedTrack(Track[Federated]):
    """Clients train one network in rounds, each on rows of its own, of a long tail in all."""

    name = "federated"
    made_in = "ltbench.tracks.federated.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-federated"
    problem = Federated
    hooks = Federating
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    unit = "plain training of as many epochs on all rows together"
    measures = (
        *CLASSIFICATION,
        share(
            "personal",
            "personal",
            "*personal*: accuracy that a client can expect of its network on rows of its own "
            "classes, in its shares, mean over clients",
            table=CLIENTS,
        ),
        share(
            "worst_client",
            "worst client",
            "*worst client*: the least of these",
            table=CLIENTS,
        ),
        share(
            "client_spread",
            "spread",
            "*spread*: their standard deviation",
            better="lower",
            table=CLIENTS,
        ),
        share(
            "own_classes",
            "own classes",
            "*own classes*: mean recall of a client's network over the classes that it has, mean "
            "over clients",
            table=CLIENTS,
        ),
        Measure(
            "sent_floats",
            "numbers sent",
            "*numbers sent*: by a client and to it in a round",
            better="lower",
            unit="",
            form="{:,.0f}",
            table=CLIENTS,
        ),
    )
    tables = (Table(CLIENTS),)

    load = staticmethod(classification.load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)
    step = staticmethod(classification.step)

    def plan(
        self, protocol: Federated, sources: Mapping[str, Dataset], device: torch.device
    ) -> None:
        classification.plan(protocol, sources, device)
        parts = classification.split(protocol, sources[""], 0)
        owned(protocol, parts, len(sources[""].classes), 0)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.federated.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.federated.checks import THOROUGH

        return THOROUGH

    def measured(self, protocol: Federated, record: Record, arrays: Arrays) -> Followed:
        if not {"labels", "predicted", "confidence"} <= arrays.keys():
            return {}
        return measured(protocol, record, arrays, msgspec.convert(record.details, OfClients))

    def refused(self, record: Record) -> str | None:
        if record.status != "ok":
            return None
        try:
            msgspec.convert(record.details, OfClients)
        except msgspec.ValidationError as error:
            return f"its clients are none ({str(error).replace('`', '')})"
        return None
