"""The declaration of domains: what it measures, and what runs its cells."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch

from ltbench.contract.recipes import Recipe
from ltbench.contract.track import (
    Arrays,
    Check,
    Followed,
    Track,
)
from ltbench.datasets import Dataset
from ltbench.results.records import Record
from ltbench.scoring.measures import CLASSIFICATION, FIRST, share
from ltbench.tracks import classification
from ltbench.tracks.diagnostics import DIAGNOSTICS
from ltbench.tracks.domains.cutting import cut
from ltbench.tracks.domains.problem import Domains
from ltbench.tracks.domains.track import (
    OF_ROWS,
    SUPPLIES,
    OfCells,
    answer,
    begin,
    divide,
    load,
    measured,
    seconds,
)


class DomainsTrack(Track[Domains]):
    """A network is trained on several domains or groups, each with a tail of its own."""

    name = "domains"
    made_in = "ltbench.tracks.domains.track"
    scaffolds = Path(__file__).parent / "scaffolds"
    example = "digits-domains"
    problem = Domains
    needs = SUPPLIES | {"two_classes"}
    floor = ("erm",)
    measures = (
        share(
            "mean_of_cells",
            "mean of cells",
            "*mean of cells*: mean recall over cells, each a class in a domain",
            table=FIRST,
        ),
        share(
            "worst_domain",
            "worst domain",
            "*worst domain*: least mean recall of a domain",
            table=FIRST,
        ),
        share("worst_cell", "worst cell", "*worst cell*: least recall of a cell", table=FIRST),
        share(
            "worst_group",
            "worst group",
            "*worst group*: least recall of a class with an attribute",
            table=FIRST,
        ),
        share(
            "weighted_accuracy",
            "weighted",
            "*weighted*: mean recall over cells, weighted by their training rows",
            table=FIRST,
        ),
        share(
            "many",
            "many",
            "*many*, *medium*, *few*, *zero*: mean recall of the cells with that many training "
            "rows",
            table=FIRST,
            empty="*many*: no cell has so many training rows",
        ),
        share("medium", empty="*medium*: no cell has such a number of rows", table=FIRST),
        share("few", empty="*few*: no cell has so few training rows", table=FIRST),
        share("zero", empty="*zero*: every cell has training rows"),
        share(
            "unseen",
            "unseen",
            "*unseen*: mean recall in the domain that training lacks, which ranks nobody",
            table=FIRST,
        ),
        *(measure for measure in CLASSIFICATION if measure.name in OF_ROWS),
        *DIAGNOSTICS,
    )

    load = staticmethod(load)
    seconds = staticmethod(seconds)
    divide = staticmethod(divide)
    answer = staticmethod(answer)

    def plan(self, protocol: Domains, sources: Mapping[str, Dataset], device: torch.device) -> None:
        begin(protocol, cut(protocol, sources[""], 0), 0, device)

    def checks(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.domains.checks import checks

        return checks(recipe)

    def thorough(self, recipe: Recipe) -> Mapping[str, Check]:
        from ltbench.tracks.domains.checks import THOROUGH

        return THOROUGH

    def step(self, protocol: Domains, measure: str, classes: int) -> float | None:
        """One test row moves a mean over cells by one in the rows of all of them."""
        if measure != "mean_of_cells":
            return None
        step = classification.step(protocol, "balanced_accuracy", classes)
        seen = len(protocol.domains) - (protocol.held_out != "none")
        return step / seen if step is not None and protocol.tested == "all" and seen > 0 else None

    def measured(self, protocol: Domains, record: Record, arrays: Arrays) -> Followed:
        if not {"labels", "predicted", "confidence", "groups"} <= arrays.keys():
            return {}
        return measured(protocol, record, arrays, msgspec.convert(record.details, OfCells))

    def refused(self, record: Record) -> str | None:
        if record.status != "ok":
            return None
        try:
            msgspec.convert(record.details, OfCells)
        except msgspec.ValidationError as error:
            return f"its cells are none ({str(error).replace('`', '')})"
        return None
