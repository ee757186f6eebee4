"""The protocols of distillation, and the budget that they grant a method."""

from typing import Annotated

from msgspec import Meta

from ltbench.protocols.schema import Classification, Table

AtLeastOne = Annotated[int, Meta(ge=1)]


class Distilling(Table, frozen=True):
    """The budget of a distilled set, and of those methods that learn its images by matching.

    `ipc` images of each class may be kept. A method that learns them takes `iterations` steps at
    the rate `lr`, each against `rows` real images of a class. It may use `networks` networks that
    were trained plainly, `epochs` each, on the training rows.
    """

    ipc: AtLeastOne
    iterations: AtLeastOne
    lr: Annotated[float, Meta(gt=0)]
    rows: AtLeastOne
    networks: AtLeastOne
    epochs: AtLeastOne


class Distillation(Classification, frozen=True, kw_only=True, tag="distillation"):
    """An imbalanced set is distilled into a few rows a class, on which networks are trained.

    On each distilled set `networks` fresh networks are trained for `steps` updates, or for the
    epochs of the budget if those are more.
    """

    distilling: Distilling
    networks: AtLeastOne
    steps: AtLeastOne
