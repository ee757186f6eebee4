"""ltbench show: a picture of what a cell made."""

from collections.abc import Sequence
from pathlib import Path

import click

from ltbench.commands.options import DATA, PLUGINS, Place, registry_of
from ltbench.commands.printing import Command, say
from ltbench.errors import LTBenchError


@click.command("show", cls=Command)
@click.argument("record", type=Place())
@DATA
@PLUGINS
def command(record: Path, data: Sequence[str], plugins: Sequence[str], strict: bool) -> None:
    """Draw what the cell of a RECORD file made, if its track draws that.

    The picture is written beside the record.
    """
    from ltbench.results import records

    registry = registry_of(plugins, strict, data)
    found = records.read(record)
    if isinstance(found, records.Rejected):
        raise LTBenchError(f"{record} cannot be shown: {found.reason}")
    protocol = registry.protocol(found.protocol)
    if not protocol.counts(found.hash):
        raise LTBenchError(
            f"{record} belongs to {found.protocol} version {found.version} ({found.hash}), "
            f"not to version {protocol.version} ({protocol.hash})"
        )
    track = registry.track(protocol.track)
    arrays = records.arrays_of(record.resolve().parents[3], found) if found.arrays else {}
    image = track.picture(protocol, found, arrays, track.load(registry, protocol))
    if image is None:
        raise LTBenchError(f"{found} of {found.protocol} keeps nothing to be shown")
    picture = record.with_suffix(".png")
    try:
        image.save(picture)
    except OSError as error:
        raise LTBenchError(f"{picture} cannot be written: {error.strerror}") from None
    say(picture)
