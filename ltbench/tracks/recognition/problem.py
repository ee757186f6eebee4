"""The protocols of recognition."""

from ltbench.protocols.schema import Classification


class Recognition(Classification, frozen=True, kw_only=True, tag="recognition"):
    """A network is trained from scratch on an imbalanced set."""
