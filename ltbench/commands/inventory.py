"""What is there, as plain objects: methods, tracks, protocols, data sets and plugins."""

import inspect
import re
from typing import Any

import msgspec

from ltbench import validation
from ltbench.contract.method import HOOKS, Method, declared, hooks
from ltbench.contract.observer import summary
from ltbench.errors import LTBenchError, UnknownName
from ltbench.registry.families import family
from ltbench.registry.registry import Registry
from ltbench.scoring.measures import Measure
from ltbench.texts import composed

MOMENTS = {
    **dict.fromkeys(("resample", "build", "phases"), "once, before training"),
    **dict.fromkeys(("enter", "optimizer"), "on entering a phase"),
    **dict.fromkeys(("sampling_weights", "prepare"), "at each epoch"),
    **dict.fromkeys(("batch", "adjust", "weight", "criterion", "extra", "step"), "at each step"),
    "finish": "once, after training",
    **dict.fromkeys(("combine", "scores", "decide"), "at each prediction"),
    "adapt": "once, before test rows are predicted",
}
"""When each hook is called."""


def entries(registry: Registry, kind: str) -> list[dict[str, Any]]:
    """All of one kind: methods, tracks, protocols, datasets or observers."""
    if kind == "methods":
        return [_method(registry, method) for method in registry.methods().values()]
    if kind == "protocols":
        return [_protocol(registry, name) for name in sorted(registry.protocols())]
    if kind == "tracks":
        return [_track(registry, name) for name in registry.tracks()]
    if kind == "observers":
        return [_observer(registry, name) for name in sorted(registry.observers())]
    return [{"name": name} for name in sorted(registry.datasets())]


def entry(registry: Registry, name: str, size: int | None = None) -> dict[str, Any]:
    """All that is known of the method, track, protocol, data set or observer of a name.

    `size` is the side to which images of files are cut.
    """
    name = composed(name)
    if name in registry.datasets():
        return {"name": name, **_dataset(registry, name, size)}
    if size is not None:
        raise LTBenchError(f"--size {size} is for a data set; {name} is none")
    if name in registry.protocols() or name.endswith(".toml"):
        return _protocol(registry, name)
    if name in registry.observers():
        return _observer(registry, name)
    if name in registry.tracks():
        return _track(registry, name)
    methods = registry.methods()
    if name not in methods:
        known = [*methods, *registry.tracks(), *registry.protocols(), *registry.datasets()]
        known += registry.observers()
        raise UnknownName("name", name, known, where="ltbench list shows all")
    return _method(registry, methods[name])


def hook_entries(registry: Registry, track: str | None = None) -> list[dict[str, Any]]:
    """The hooks of every track, or those that one adds, each with a method that shows it.

    That is the shipped method which overrides the fewest others, of those the one whose file is
    the shortest.

    Raises:
        LTBenchError: there is no such track.
    """
    contract = Method if track is None else registry.track(track).hooks
    found = declared(contract)
    names = [name for name in found if track is None or name not in HOOKS]
    shipped = [m for m in registry.methods().values() if registry.owner(m.name).built_in]
    shipped.sort(key=lambda m: (len(hooks(m)), len(registry.owner(m.name).source), m.name))
    entries = []
    for name in names:
        rule, default = found[name], getattr(contract, name)
        together = "added" if name == "extra" else "multiplied" if name == "weight" else "in order"
        if rule.join is not None:
            together = "joined by the track's rule"
        taken = [one for one in inspect.signature(default).parameters if one != "self"]
        text = inspect.getdoc(default) or ""
        entries.append(
            {
                "hook": f"{name}({', '.join(taken)})",
                "when": MOMENTS.get(name, "as the track says"),
                "acts": "in the phases of the method's roles" if rule.training else "always",
                "does": " ".join(text.split()),
                "owners": f"many, {together}" if rule.many else f"one, to {rule.decides}",
                "shown by": next((m.name for m in shipped if name in hooks(m)), None),
            }
        )
    return entries


def _dataset(registry: Registry, name: str, size: int | None) -> dict[str, Any]:
    load = registry.dataset(name)
    try:
        found = load() if size is None else load(size)
    except TypeError:
        if size is None:
            raise
        told = f"{name} is read at its own size; --size is for images in files"
        raise LTBenchError(told) from None
    described: dict[str, Any] = found.described()
    return described


def _track(registry: Registry, name: str) -> dict[str, Any]:
    track = registry.track(name)
    text = inspect.getdoc(track) or ""
    further = [hook for hook in declared(track.hooks) if hook not in HOOKS]
    return {
        "name": name,
        "kind": "track",
        "summary": text.partition("\n")[0],
        "description": text,
        "supplies": sorted(track.needs),
        "adds_hooks": further,
        "always_runs": list(track.floor),
        "set_against": track.reference,
        "measures": {m.name: _measure(m) for m in track.measures},
        "protocols": [
            one for one in sorted(registry.protocols()) if registry.track_of(one) == name
        ],
    }


def _measure(measure: Measure) -> str:
    unit = f", in {measure.unit}" if measure.unit else ""
    said = measure.explanation.replace("*", "") or measure.called
    said = re.sub(r"\{0\.(\w+)\}", lambda field: field[1].upper(), said)  # a protocol fills it in
    return f"{said} ({measure.better} is better{unit})"


def _method(registry: Registry, method: type[Method]) -> dict[str, Any]:
    plugin = registry.owner(method.name)
    return {
        "name": method.name,
        "kind": "method",
        "family": family(plugin, method.name),
        "summary": (inspect.getdoc(method) or "").partition("\n")[0],
        "description": inspect.getdoc(method) or "",
        "reference": method.reference,
        "hooks": hooks(method),
        "roles": method.roles,
        "needs": sorted(method.needs),
        "corrects": method.corrects,
        "parameters": validation.schemas(method),
        "space": {name: repr(values) for name, values in method.space.items()},
        "package": plugin.package,
        "version": plugin.version,
        "plugin": str(plugin.file) if plugin.package == "file" else plugin.name,
    }


def _protocol(registry: Registry, name: str) -> dict[str, Any]:
    protocol = registry.protocol(name)
    return {
        "name": protocol.name,
        "kind": "protocol",
        "hash": protocol.hash,
        **msgspec.to_builtins(protocol),
    }


def _observer(registry: Registry, name: str) -> dict[str, Any]:
    make = registry.observer(name)
    return {
        "name": name,
        "kind": "observer",
        "summary": summary(make),
        "description": inspect.getdoc(make) or "",
    }


def plugins(registry: Registry) -> list[dict[str, Any]]:
    """Every plugin with what it provides and what of it was left out."""
    registry.load_all()
    return [
        {
            "plugin": plugin.name,
            "package": plugin.package,
            "version": plugin.version,
            "provides": registry.provided_by(plugin),
            "left_out": [
                left_out.reason
                for left_out in registry.left_out
                if (left_out.plugin, left_out.package) == (plugin.name, plugin.package)
            ],
            "put_back": registry.put_back.get(plugin, []),
            "warning": registry.warned.get(plugin, ""),
        }
        for plugin in registry.plugins
    ]
