"""What a protocol grants a method that distils a training set into a few images."""

from typing import Annotated

from msgspec import Meta, Struct

AtLeastOne = Annotated[int, Meta(ge=1)]


class Distilling(Struct, frozen=True, forbid_unknown_fields=True):
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
