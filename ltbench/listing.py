"""What is there, as plain objects: methods, protocols, data sets and plugins."""

import inspect
from typing import Any

import msgspec

from ltbench import validation
from ltbench.errors import UnknownName
from ltbench.method import Method, hooks
from ltbench.observers import summary
from ltbench.registry import Registry


def entries(registry: Registry, kind: str) -> list[dict[str, Any]]:
    """All of one kind: methods, protocols, datasets or observers."""
    if kind == "methods":
        return [_method(registry, method) for method in registry.methods().values()]
    if kind == "protocols":
        return [_protocol(registry, name) for name in sorted(registry.protocols())]
    if kind == "observers":
        return [_observer(registry, name) for name in sorted(registry.observers())]
    return [{"name": name} for name in [*sorted(registry.datasets()), *registry.tables()]]


def entry(registry: Registry, name: str) -> dict[str, Any]:
    """All that is known of the method, protocol, data set or observer of a name."""
    if name in registry.datasets():
        dataset = registry.dataset(name)()
        return {
            "name": name,
            "kind": "data set",
            "rows": len(dataset.train),
            "test_rows": len(dataset.test) if dataset.test is not None else 0,
            "shape": list(dataset.train.inputs.shape[1:]),
            "classes": list(dataset.classes),
            "class_counts": dataset.train.labels.bincount().tolist(),
            "fingerprint": dataset.fingerprint,
        }
    if name in registry.tables():
        return _table(registry, name)
    if name in registry.protocols() or name.endswith(".toml"):
        return _protocol(registry, name)
    if name in registry.observers():
        return _observer(registry, name)
    methods = registry.methods()
    if name not in methods:
        known = [*methods, *registry.protocols(), *registry.datasets(), *registry.tables()]
        known += registry.observers()
        raise UnknownName("name", name, known, where="ltbench list shows all")
    return _method(registry, methods[name])


def _table(registry: Registry, name: str) -> dict[str, Any]:
    frame, fingerprint = registry.table(name)
    return {
        "name": name,
        "kind": "table",
        "rows": len(frame),
        "columns": [str(column) for column in frame.columns],
        "fingerprint": fingerprint,
    }


def _method(registry: Registry, method: type[Method]) -> dict[str, Any]:
    plugin = registry.owner(method.name)
    return {
        "name": method.name,
        "kind": "method",
        "summary": (inspect.getdoc(method) or "").partition("\n")[0],
        "description": inspect.getdoc(method) or "",
        "reference": method.reference,
        "hooks": hooks(method),
        "roles": method.roles,
        "needs": sorted(method.needs),
        "corrects": method.corrects,
        "parameters": validation.schemas(method),
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
        }
        for plugin in registry.plugins
    ]
