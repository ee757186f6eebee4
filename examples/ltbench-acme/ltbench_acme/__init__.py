"""What a package of its own brings to ltbench: a track of several labels a row, and data."""

from pathlib import Path

from ltbench import hookimpl

LTBENCH_INTERFACE = "1.0"
PROTOCOLS = Path(__file__).parent / "protocols"


@hookimpl
def register_tracks(register):
    # it loads torch, so not before a track is asked for
    from ltbench_acme.track import MultiLabelTrack

    register(MultiLabelTrack())


@hookimpl
def register_datasets(register):
    register("mirrored-digits", mirrored_digits)


@hookimpl
def register_protocols(register):
    for name in ("digit-pairs", "mirrored-digits-lt", "ringed-digits-lt", "visits"):
        register(PROTOCOLS / f"{name}.toml")


def mirrored_digits():
    """Handwritten digits, and their mirror images as ten classes more."""
    import torch

    from ltbench import Dataset, Rows
    from ltbench.datasets import built_in

    digits = built_in()["digits"]()
    inputs = torch.cat([digits.train.inputs, digits.train.inputs.flip(3)])
    labels = torch.cat([digits.train.labels, digits.train.labels + len(digits.classes)])
    mirrored = tuple(f"{name} mirrored" for name in digits.classes)
    return Dataset(Rows(inputs, labels), (*digits.classes, *mirrored))
