"""Registers what plugins bring, loads each by itself, and says which were left out, and why."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ltbench.contract.observer import summary as summary_of
from ltbench.errors import LTBenchError, UnknownName, nearest
from ltbench.registry.cache import remembered
from ltbench.registry.discovery import (
    GROUP,
    Outline,
    Plugin,
    from_class,
    from_file,
    in_precedence,
    module_of_file,
    outlines,
    stamps,
)
from ltbench.registry.interface import unserved
from ltbench.texts import composed, line, readable, traced

if TYPE_CHECKING:
    import pluggy

    from ltbench.contract.method import Method
    from ltbench.contract.observer import Maker
    from ltbench.contract.recipes import Recipe
    from ltbench.contract.track import Track
    from ltbench.datasets import Loader
    from ltbench.protocols.schema import Protocol
    from ltbench.results.records import Origin

T = TypeVar("T")

PARTS = ("register_networks", "register_learners", "register_metrics")
"""Hooks for what tracks find by name: they are called whenever a track is asked for."""

HOOKS = (
    "register_tracks",
    *PARTS,
    "register_methods",
    "register_datasets",
    "register_protocols",
    "register_observers",
)
"""In the order in which those of one plugin are called."""


@dataclass(frozen=True)
class LeftOut:
    """A plugin, or one `name` of it, that is not used, and why."""

    plugin: str
    package: str
    reason: str
    name: str = ""

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} of {self.package} left out: {self.reason}"


class Registry:
    """The plugins that are installed, with those of single files; built-in names always win.

    With `strict` a plugin that would be left out is an error. `data` names data sets by the path
    of their files; others are found by name in the data folder.
    """

    def __init__(
        self,
        files: Iterable[str | Path] = (),
        strict: bool = False,
        data: Mapping[str, str | Path] | None = None,
    ) -> None:
        self.strict = strict
        self.data: dict[str, str | Path] = {
            composed(name): os.path.expanduser(path) for name, path in dict(data or {}).items()
        }
        self.left_out: list[LeftOut] = []
        self.objects: list[str] = []  # the names of methods that came as objects
        self.stamps = stamps()
        self.plugins = in_precedence([from_file(Path(file)) for file in files], self.stamps)
        self._loaded: set[Plugin] = set()
        self._owners: dict[str, Plugin] = {}
        self._methods: dict[str, type[Method]] = {}
        self._protocols: dict[str, tuple[Plugin, Path]] = {}
        self._datasets: dict[str, tuple[Plugin, Loader]] = {}
        self._observers: dict[str, tuple[Plugin, Maker]] = {}
        self._tracks: dict[str, tuple[Plugin, Track[Any]]] = {}
        self._parts: dict[tuple[str, str], tuple[Plugin, Any]] = {}  # by kind and name
        self._metrics: list[tuple[Plugin, str, Any, Any]] = []  # whose track nobody asked for yet
        self.put_back: dict[Plugin, list[str]] = {}  # what their imports changed, and no longer do
        self.warned: dict[Plugin, str] = {}  # of what they are written against
        self._waiting: list[tuple[Plugin, Any]] = []  # whose tracks nobody has asked for yet
        for plugin in self.plugins:
            if plugin.package == "file":
                self._load_file(plugin)

    def outlines(self) -> Iterator[tuple[Outline, Plugin]]:
        """Every method, in order of name; those that plain reading tells are not imported."""
        first: dict[str, tuple[Outline, Plugin]] = {}
        for plugin in self.plugins:
            read = self._read_plainly[plugin]
            if read is None or (plugin in self._loaded and not plugin.built_in):
                self._load(plugin)
                owned = [self._methods[n] for n, owner in self._owners.items() if owner == plugin]
                read = [Outline(m.name, m.reference, summary_of(m)) for m in owned]
            for outline in read:
                first.setdefault(outline.name, (outline, plugin))
        yield from (first[name] for name in sorted(first))

    @cached_property
    def _read_plainly(self) -> dict[Plugin, list[Outline] | None]:
        sources = [plugin.source for plugin in self.plugins]
        read = remembered(
            "outlines", sources, lambda: list(map(outlines, sources)), list[list[Outline] | None]
        )
        return dict(zip(self.plugins, read, strict=True))

    def method(self, name: str) -> "type[Method]":
        """The method of a name; loads no more plugins than it takes to find it.

        Raises:
            LTBenchError: no plugin registers that name; tells if one was left out.
        """
        for plugin in self.plugins:
            read = self._read_plainly[plugin] or ()
            if name not in self._methods and any(outline.name == name for outline in read):
                self._load(plugin)
        if name not in self._methods:
            self._load_every()
        if name not in self._methods:
            raise self._unknown("method", name, self._methods)
        return self._methods[name]

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> LTBenchError:
        """Refuses a name, and tells which plugins that may bring it were left out."""
        lines = [str(UnknownName(kind, name, known))]
        lines += [str(one) for one in self.left_out if name in (one.plugin, one.name)]
        if len(lines) == 1 and self.left_out:
            lines.append(f"plugins left out: {len(self.left_out)}; ltbench plugins tells why")
        return LTBenchError("\n".join(lines))

    def owner(self, name: str) -> Plugin:
        """The plugin that registered a method."""
        return self._owners[name]

    def origins(self, recipe: "Recipe") -> "dict[str, Origin]":
        """The code of each method of a recipe, as it is."""
        return {method.name: self.owner(method.name).origin for method in recipe.methods}

    def origin(self, name: str) -> "Origin | None":
        """The code of a method as it is now, read without importing it; None for an unknown one."""
        plugin = self._owners.get(name)
        if plugin is None:
            known = (owner for outline, owner in self.outlines() if outline.name == name)
            plugin = next(known, None)
        return plugin.origin if plugin is not None else None

    def provided_by(self, plugin: Plugin) -> list[str]:
        """The names of methods and all else that a loaded plugin registered."""
        others = (self._tracks, self._datasets, self._protocols, self._observers)
        owned = [*self._owners.items()]
        owned += [(name, owner) for kind in others for name, (owner, _) in kind.items()]
        owned += [(name, owner) for (_, name), (owner, _) in self._parts.items()]
        return sorted({name for name, owner in owned if owner == plugin})

    def track(self, name: str) -> "Track[Any]":
        """The track of a name.

        Raises:
            LTBenchError: no plugin registers it; tells if one was left out.
        """
        found = self.tracks()
        if name not in found:
            raise self._unknown("track", name, found)
        return found[name]

    def tracks(self) -> "dict[str, Track[Any]]":
        """Every track by name, with the parts that plugins bring."""
        for hook in ("register_tracks", *PARTS):
            self._load_those_with(hook)
        self._waiting.sort(key=lambda pair: self.plugins.index(pair[0]))
        while self._waiting:
            self._guarded(*self._waiting.pop(0))
        while self._metrics:
            plugin, track, measure, metric = self._metrics.pop(0)
            self._guarded(plugin, partial(self._add_metric, plugin, track, measure, metric))
        return {name: track for name, (_, track) in sorted(self._tracks.items())}

    def methods(self) -> "dict[str, type[Method]]":
        self._load_every()
        return dict(sorted(self._methods.items()))

    def recipe(self, given: "str | Method") -> "Recipe":
        """The composed method that a text such as "ldam+drw+sam(rho=0.8)" spells, or an object is.

        Raises:
            LTBenchError: a malformed text, an unknown name or parameter, a conflict; or an object
                that is no method, or takes the name of another.
        """
        from ltbench.contract.method import Method
        from ltbench.contract.recipes import Recipe, recipe

        if isinstance(given, str):
            return recipe(given, self.method)
        if isinstance(given, type) and issubclass(given, Method):
            given = given()
        if not isinstance(given, Method):
            raise LTBenchError(f"{line(given, repr)} is no recipe: neither a text nor a method")
        return Recipe(*map(self._adopted, given.methods if isinstance(given, Recipe) else [given]))

    def _adopted(self, method: "Method") -> "Method":
        """A method that was handed over as an object, of which a record can tell."""
        from ltbench.contract.method import refusal, values
        from ltbench.contract.recipes import make
        from ltbench.contract.spaces import unsound

        kind, name = type(method), type(method).name
        for plugin in self.plugins if name not in self._methods else ():
            read = self._read_plainly[plugin]
            if read is None or any(outline.name == name for outline in read):
                self._load(plugin)
        if name not in self._methods:
            reason = refusal(kind) or unsound(kind)
            if reason is not None:
                raise LTBenchError(f"{line(method, repr)} cannot be run: {reason}")
            self._methods[name], self._owners[name] = kind, from_class(kind)
            self.objects.append(name)
        if self._methods[name] is not kind:
            raise LTBenchError(
                f"{kind.__name__}.name is {name!r}, which another method is called; choose another"
            )
        return make(kind, values(method))

    def protocol(self, given: "str | Path | Protocol") -> "Protocol":
        """The protocol of a name, or of a TOML file's path; one that is there is taken as it is.

        Raises:
            LTBenchError: an unknown name, or a file that states no protocol.
        """
        from ltbench.protocols.schema import Protocol

        if isinstance(given, Protocol):
            return given
        if not isinstance(given, str | os.PathLike):
            raise LTBenchError(f"{line(given, repr)} is no protocol, and no name or file of one")
        name = str(given)
        if name.casefold().endswith(".toml"):
            return self._read(Path(os.path.expanduser(name)))
        found = self.protocols()
        if name not in found:
            raise self._unknown("protocol", name, found)
        return self._read(found[name])

    def _read(self, file: Path) -> "Protocol":
        """The protocol that a file states.

        Raises:
            LTBenchError: it states none, or one of a track that is not there.
        """
        from ltbench.protocols.loader import content
        from ltbench.protocols.schema import Protocol
        from ltbench.validation import missing

        stated, owner = content(file, self.protocols), f"protocol {readable(str(file))}"
        name = stated.get("track")
        if name is None:
            lacking = ["track", *missing(stated, Protocol)]
            told = "key track is missing" if len(lacking) == 1 else "keys are missing: "
            raise LTBenchError(f"{owner}: {told}{', '.join(lacking[len(lacking) == 1 :])}")
        if not isinstance(name, str):
            raise LTBenchError(f"{owner}: track is {name!r}, not a text")
        try:
            track = self.track(name)
        except LTBenchError as error:
            raise LTBenchError(f"{owner}: {error}") from None
        protocol: Protocol = track.read(owner, stated)
        return protocol

    def protocols(self) -> dict[str, Path]:
        """The file of each protocol by name."""
        self._load_those_with("register_protocols")
        return {name: path for name, (_, path) in self._protocols.items()}

    def track_of(self, name: str) -> str:
        """The name of the track that a protocol's file states."""
        from ltbench.protocols.loader import content

        return str(content(self.protocols()[name], self.protocols).get("track"))

    def ships(self, name: str) -> bool:
        """Whether a protocol of this name comes with ltbench."""
        return name in self.protocols() and self._protocols[name][0].built_in

    def dataset(self, name: str) -> "Loader":
        """The loader of a data set."""
        from ltbench.datasets import data_folder

        found, name = self.datasets(), composed(name)
        if name not in found:
            where = f"nor is it in {data_folder()}; set LTBENCH_DATA to a folder that holds it"
            raise UnknownName("data set", name, found, where)
        return found[name]

    def datasets(self) -> "dict[str, Loader]":
        """The loader of each data set by name."""
        from ltbench.datasets import built_in, folders_with_data, of_files

        self._load_those_with("register_datasets")
        known = {name: load for name, (_, load) in self._datasets.items()} | built_in()
        for name in self.data.keys() & known.keys():
            raise LTBenchError(f"data {name}={self.data[name]} takes the name of a known data set")
        found = {composed(path.name): path for path in folders_with_data()}
        given = {name: Path(path) for name, path in self.data.items()}
        return {name: of_files(path) for name, path in (found | given).items()} | known

    def datasets_of_plugins(self) -> list[str]:
        """The names of the data sets that plugins, and tracks among them, bring."""
        self._load_those_with("register_datasets")
        return sorted(self._datasets)

    def observer(self, name: str) -> "Maker":
        """What makes an observer from its argument."""
        found = self.observers()
        if name not in found:
            raise UnknownName("observer", name, found)
        return found[name]

    def observers(self) -> "dict[str, Maker]":
        """What makes each observer, by name."""
        self._load_those_with("register_observers")
        return {name: make for name, (_, make) in self._observers.items()}

    def load_all(self) -> None:
        """Loads every plugin, and all that it brings."""
        self._load_every()
        self.tracks()

    def _load_every(self) -> None:
        for plugin in self.plugins:
            self._load(plugin)

    def _load_those_with(self, hook: str) -> None:
        for plugin in self.those_with(hook):
            self._load(plugin)

    def _load_shipped_with(self, hook: str) -> None:
        for plugin in self.those_with(hook):
            if plugin.built_in:
                self._load(plugin)

    def those_with(self, hook: str) -> list[Plugin]:
        """The plugins that may have a hook: their source names it, or does not tell."""
        return [
            plugin
            for plugin in self.plugins
            if plugin.file is None or hook in plugin.source or "import *" in plugin.source
        ]

    def _load(self, plugin: Plugin) -> None:
        if plugin in self._loaded:
            return
        self._loaded.add(plugin)

        def registers() -> None:
            warning = unserved(plugin.source)
            if warning:
                self.warned[plugin] = warning
                print(f"plugin {plugin.name!r} of {plugin.package}: {warning}", file=sys.stderr)
            self._register(plugin, self._apart(plugin, plugin.load))

        self._guarded(plugin, registers)

    def _apart(self, plugin: Plugin, do: Callable[[], T]) -> T:
        """Has a plugin do something; what a stranger's changes around it is put back.

        Raises:
            LTBenchError: something cannot be put back, and `strict` asks for that.
        """
        if plugin.built_in:
            return do()
        from ltbench.registry.surroundings import load_ahead, put_back

        own = {one.module.partition(".")[0] for one in self.plugins if one.built_in} - {""}
        load_ahead([plugin.source, *plugin.imported_sources], own)
        try:
            with put_back(own) as changes:
                done = do()
        finally:
            self.put_back.setdefault(plugin, []).extend(changes.undone)
            lasting = f"it changed {', '.join(changes.lasting)}, which cannot be put back"
            if changes.lasting and not self.strict:
                told = f"plugin {plugin.name!r} of {plugin.package}: {lasting}"
                print(f"{told}; it may falsify other rows", file=sys.stderr)
        if changes.lasting and self.strict:
            raise LTBenchError(lasting)
        return done

    def _load_file(self, plugin: Plugin) -> None:
        """Loads a single file, which is all or nothing.

        Raises:
            LTBenchError: something of it would be left out.
        """
        self._load(plugin)
        if any(plugin == one for one, *_ in (*self._waiting, *self._metrics)):
            self.tracks()
        for one in self.left_out:
            if (one.plugin, one.package) == (plugin.name, plugin.package):
                raise LTBenchError(f"plugin file {readable(str(plugin.file))}: {one.reason}")

    def _guarded(self, plugin: Plugin, registers: Callable[[], None]) -> None:
        """Has a plugin register what it brings; what it raises leaves it out."""
        before = len(self.left_out)
        try:
            registers()
        except KeyboardInterrupt:
            raise
        # A stranger's module may raise anything at all; that must cost its own rows only.
        except BaseException as error:
            self._leave_out(plugin, _told(error, plugin))
            if trace := traced(error):
                print(trace, file=sys.stderr)
        if self.strict and len(self.left_out) > before:
            raise LTBenchError(str(self.left_out[before]))

    def _register(self, plugin: Plugin, module: Any) -> None:
        """Calls a plugin's hooks; those for tracks, which load much, when one is asked for."""
        if not plugin.built_in:  # what is shipped comes first, whoever asks first
            for hook in HOOKS:
                if hook != "register_methods" and hasattr(module, hook):
                    self._load_shipped_with(hook)
        manager = self._manager
        manager.register(module, name=f"{plugin.package}:{plugin.name}")
        callers = manager.get_hookcallers(module) or []
        for caller in callers:
            if not caller.has_spec():
                near = nearest(caller.name, HOOKS)
                raise LTBenchError(
                    f"hook {caller.name!r} is unknown" + (f"; did you mean {near}?" if near else "")
                )
        if not callers:
            raise LTBenchError("it has no function marked @hookimpl")
        take: dict[str, Callable[..., None]] = {
            "register_tracks": self._take_track,
            "register_methods": self._take_method,
            "register_datasets": self._take_dataset,
            "register_protocols": self._take_protocol,
            "register_observers": self._take_observer,
            "register_networks": self._take_network,
            "register_learners": self._take_learner,
            "register_metrics": self._take_metric,
        }
        calls = {}
        for name in sorted((caller.name for caller in callers), key=HOOKS.index):
            calls[name] = partial(self._call, module, name, partial(take[name], plugin))
        if "register_tracks" in calls:
            tracks = calls.pop("register_tracks")
            self._waiting.append((plugin, partial(self._apart, plugin, tracks)))
        if calls:  # all at once, as to look what a stranger changed takes a while
            self._apart(plugin, lambda: [call() for call in calls.values()])

    def _call(self, module: Any, hook: str, register: Callable[..., None]) -> None:
        """Calls a hook of one plugin alone."""
        others = self._manager.get_plugins() - {module}
        self._manager.subset_hook_caller(hook, others)(register=register)

    @cached_property
    def _manager(self) -> "pluggy.PluginManager":
        import pluggy

        from ltbench.contract import hookspecs

        manager = pluggy.PluginManager(GROUP)
        manager.add_hookspecs(hookspecs)
        return manager

    def _take_method(self, plugin: Plugin, method: "type[Method]") -> None:
        from ltbench.contract.method import refusal
        from ltbench.contract.spaces import unsound

        try:
            reason = refusal(method) or unsound(method)
        # What a stranger's class does when it is asked may be anything.
        except Exception as error:
            reason = _told(error, plugin)
        if reason is not None:
            self._leave_out(plugin, reason, str(getattr(method, "name", "")))
        elif self._is_free(plugin, method.name, self._methods, self._built_in_methods):
            self._methods[method.name] = method
            self._owners[method.name] = plugin

    def _take_track(self, plugin: Plugin, track: "Track[Any]") -> None:
        from ltbench.contract.track import refusal

        reason = refusal(track)
        if reason is not None:
            self._leave_out(plugin, reason, getattr(track, "name", ""))
        elif self._is_free(plugin, track.name, self._tracks, self._shipped(self._tracks), "track"):
            self._tracks[track.name] = (plugin, track)

    def _take_protocol(self, plugin: Plugin, path: str | Path) -> None:
        # a shipped file is called as its protocol is, and read when it is asked for
        try:
            name = Path(path).stem if plugin.built_in else self._read(Path(path)).name
        except LTBenchError as error:
            self._leave_out(plugin, str(error).partition("\n")[0])
            return
        if self._is_free(plugin, name, self._protocols, self._shipped(self._protocols)):
            self._protocols[name] = (plugin, Path(path))

    @staticmethod
    def _shipped(found: Mapping[str, tuple[Plugin, Any]]) -> set[str]:
        return {name for name, (owner, _) in found.items() if owner.built_in}

    def _take_dataset(self, plugin: Plugin, name: str, load: "Loader") -> None:
        from ltbench.datasets import built_in

        if self._is_pair(plugin, name, load) and self._is_free(
            plugin, composed(name), self._datasets, built_in()
        ):
            reads = load if plugin.built_in else partial(self._load_data, plugin, name, load)
            self._datasets[composed(name)] = (plugin, reads)

    def _load_data(self, plugin: Plugin, name: str, load: "Loader", *given: Any) -> Any:
        """What a stranger's data set reads.

        Raises:
            LTBenchError: it cannot be read, or is none.
        """
        called = f"data set {name} of {plugin.package}"
        try:
            found = self._apart(plugin, lambda: load(*given))
        except (KeyboardInterrupt, LTBenchError):
            raise
        except BaseException as error:
            raise LTBenchError(f"{called} cannot be read: {_told(error, plugin)}") from error
        pandas = sys.modules.get("pandas")  # which who makes a frame has loaded
        if pandas is not None and isinstance(found, pandas.DataFrame):
            from ltbench.datasets.tables import whole

            return whole(found)
        if not all(hasattr(found, name) for name in ("described", "fingerprint")):
            raise LTBenchError(f"{called} is {line(found, repr)}, not a ltbench.Dataset")
        return found

    def _take_observer(self, plugin: Plugin, name: str, make: "Maker") -> None:
        if self._is_pair(plugin, name, make) and self._is_free(
            plugin, name, self._observers, self._shipped(self._observers)
        ):
            self._observers[name] = (plugin, make)

    def _take_network(self, plugin: Plugin, name: str, network: Any, options: Any) -> None:
        from ltbench.contract.parts import NETWORKS, Part
        from ltbench.models import own

        if not isinstance(options, type):
            self._leave_out(plugin, f"network {name!r} has {line(options, repr)} as its options")
        elif self._is_pair(plugin, name, network) and self._is_free_part(
            plugin, "network", name, own()
        ):
            NETWORKS.bring(name, Part(network, options, _module(plugin)))
            self._parts["network", name] = plugin, network

    def _take_learner(self, plugin: Plugin, name: str, learner: Any, **defaults: Any) -> None:
        from ltbench.contract.parts import LEARNERS, Part
        from ltbench.models.learners import own

        if self._is_pair(plugin, name, learner) and self._is_free_part(
            plugin, "learner", name, own()
        ):
            LEARNERS.bring(name, Part(learner, defaults, _module(plugin)))
            self._parts["learner", name] = plugin, learner

    def _is_free_part(self, plugin: Plugin, kind: str, name: str, built_in: Iterable[str]) -> bool:
        taken = [known for of, known in self._parts if of == kind]
        return self._is_free(plugin, name, taken, built_in, kind)

    def _take_metric(self, plugin: Plugin, track: str, measure: Any, metric: Any) -> None:
        self._metrics.append((plugin, track, measure, metric))

    def _add_metric(self, plugin: Plugin, track: str, measure: Any, metric: Any) -> None:
        if track not in self._tracks:
            raise UnknownName("track", str(track), self._tracks)
        self._tracks[track][1].bring(measure, metric, _module(plugin))
        self._parts["metric", measure.name] = plugin, track

    def _is_pair(self, plugin: Plugin, name: Any, makes: Any) -> bool:
        if isinstance(name, str) and name and readable(name) == name and callable(makes):
            return True
        given = f"{line(name, repr)} and {line(makes, repr)}"
        self._leave_out(plugin, f"it registers {given}, where a name and a function are expected")
        return False

    @cached_property
    def _built_in_methods(self) -> set[str]:
        own = [self._read_plainly[plugin] or () for plugin in self.plugins if plugin.built_in]
        return {outline.name for read in own for outline in read}

    def _is_free(
        self,
        plugin: Plugin,
        name: str,
        taken: Iterable[str],
        built_in: Iterable[str],
        kind: str = "name",
    ) -> bool:
        if name in built_in and not plugin.built_in:
            self._leave_out(plugin, f"the {kind} {name!r} is built in")
        elif name in taken:
            self._leave_out(plugin, f"the {kind} {name!r} is taken")
        else:
            return True
        return False

    def _leave_out(self, plugin: Plugin, reason: str, name: str = "") -> None:
        self.left_out.append(LeftOut(plugin.name, plugin.package, reason, name))


@cache
def installed() -> Registry:
    """The registry of what is installed; made once a process."""
    return Registry()


def registry_of(
    plugins: Iterable[str | Path] = (), data: Mapping[str, str | Path] | None = None
) -> Registry:
    """The registry with the methods of single files and with named data, if there are any."""
    files = list(plugins)
    return Registry(files, data=data) if files or data else installed()


def _module(plugin: Plugin) -> str:
    """The module of a plugin, by which its code is found; that of a single file as it is loaded."""
    return plugin.module or module_of_file(plugin.file or Path(plugin.name))


def _told(error: BaseException, plugin: Plugin) -> str:
    """An error of a plugin in one line, with the line of its source where it came from."""
    if isinstance(error, LTBenchError):
        return line(error)
    import traceback

    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(plugin.file)
    ]
    where = f" (line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {line(error) or 'no message'}{where}"
