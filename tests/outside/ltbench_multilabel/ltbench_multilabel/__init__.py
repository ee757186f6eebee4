"""A track for ltbench: several labels a row."""

from pathlib import Path

from ltbench import hookimpl


@hookimpl
def register_tracks(register):
    # it loads torch, so not before a track is asked for
    from ltbench_multilabel.track import MultiLabelTrack

    register(MultiLabelTrack())


@hookimpl
def register_protocols(register):
    register(Path(__file__).parent / "protocols" / "digit-pairs.toml")
