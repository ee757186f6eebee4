"""ltbench list: what there is, by name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ltbench.commands.options import DATA, JSON, PLUGINS, registry_of
from ltbench.commands.printing import Command, print_columns, print_json, terminal
from ltbench.errors import LTBenchError, UnknownName

if TYPE_CHECKING:
    from ltbench.registry.registry import Registry

KINDS = ("methods", "tracks", "protocols", "datasets", "observers")


@click.command("list", cls=Command)
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "--family", metavar="NAME", help="The methods of a family, as re-sampling or ensemble."
)
@click.option("--track", metavar="NAME", help="The protocols of a track, or methods it may take.")
@DATA
@JSON
@PLUGINS
def command(
    kind: str | None,
    family: str | None,
    track: str | None,
    data: Sequence[str],
    as_json: bool,
    plugins: Sequence[str],
    strict: bool,
) -> None:
    """List methods, tracks, protocols, data sets and observers, or one KIND of them.

    On a terminal methods stand by family and protocols by track, and what does not fit is cut.
    """
    registry = registry_of(plugins, strict, data)
    kinds = [k for k in KINDS if kind in (k, None)]
    kept: dict[str, set[str]] = {}
    if family is not None or track is not None:
        kept = _chosen(registry, family, track)
        kinds = [k for k in kinds if k in kept]
        if not kinds:
            asked = "--family" if family is not None else "--track"
            raise LTBenchError(f"{asked} is for {' and '.join(kept)}, not for {kind}")
    if as_json:
        from ltbench.commands import inventory

        found = {k: inventory.entries(registry, k) for k in kinds}
        for k, names in kept.items():
            found[k] = [one for one in found.get(k, []) if one["name"] in names]
        print_json(found[kinds[0]] if kind else {k: found[k] for k in kinds})
        return
    from ltbench.registry.listing import groups, lines

    for k in kinds:
        rows = [row for row in lines(registry, k) if row[0] in kept.get(k, (row[0],))]
        of = groups(registry, k) if terminal() is not None else {}
        if not of:
            print_columns(rows, None if kind else k)
            continue
        for group in sorted(set(map(of.__getitem__, (row[0] for row in rows)))):
            print_columns([row for row in rows if of[row[0]] == group], f"{k}, {group}")


def _chosen(registry: "Registry", family: str | None, track: str | None) -> dict[str, set[str]]:
    """The names of each kind that are of a family, and of a track or may serve it.

    Raises:
        LTBenchError: there is no such family or track, or a family was asked for beside a track.
    """
    from ltbench.registry.listing import groups

    of = groups(registry, "methods")
    methods = {name for name, own in of.items() if family in (None, own)}
    if not methods:
        raise UnknownName("family", str(family), set(of.values()))
    if track is None:
        return {"methods": methods}
    needs = registry.track(track).needs
    taken = {name for name, method in registry.methods().items() if method.needs <= needs}
    kept = {"methods": methods & taken}
    if family is None:
        protocols = groups(registry, "protocols")
        kept["protocols"] = {name for name, own in protocols.items() if own == track}
    return kept
