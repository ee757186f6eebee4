"""What a stranger's import may change around it, and how that is put back.

Nothing heavy is imported here: torch and NumPy are looked after where they are loaded.
"""

import ast
import gc
import hashlib
import locale
import multiprocessing
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from ltbench.registry.code import UNREAD

WATCHED = frozenset({"builtins", "ltbench", "math", "numpy", "os", "random", "time"})
WATCHED |= {"imblearn", "scipy", "sklearn", "torch", "torchvision"}
"""Packages whose functions and classes must stay what they are."""

MISSING = object()


@dataclass
class Changes:
    """What was changed and put back, and what was changed and stays so."""

    undone: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)


@contextmanager
def put_back(packages: Set[str] = frozenset()) -> Iterator[Changes]:
    """Puts back what changes within, in further `packages` too; what did is told at the end."""
    changes = Changes()
    switches = [(switch, switch.read()) for switch in _switches()]
    chance = [(write, read()) for read, write in _generators()]
    patches, computed = Patches(WATCHED | packages), _computed()
    try:
        yield changes
    finally:
        for switch, before in switches:
            _restore(switch, before, changes)
        for write, state in chance:
            write(state)
        changes.undone += patches.undone()
        if computed and _computed() != computed:
            changes.lasting.append("what torch and NumPy compute")


def load_ahead(sources: Iterable[str], packages: Set[str] = frozenset()) -> None:
    """Loads what sources import of watched and further packages, so that it is known as it was."""
    watched = WATCHED | packages
    for source in sources:
        try:
            tree = ast.parse(source)
        except UNREAD:
            continue  # it will not be imported either
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    _load(alias.name, [], watched)
            if isinstance(node, ast.ImportFrom) and not node.level:
                _load(node.module or "", [alias.name for alias in node.names], watched)


def _load(module: str, names: list[str], watched: Set[str]) -> None:
    if module.partition(".")[0] in watched:
        with suppress(Exception):  # it need not be there; whoever imports it will say so
            loaded = import_module(module)
            for name in names:
                if not hasattr(loaded, name):
                    import_module(f"{module}.{name}")


class Switch(NamedTuple):
    """A global setting: what it is called, how it is read, and how it is written."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _restore(switch: Switch, before: Any, changes: Changes) -> None:
    if switch.read() == before:
        return
    with suppress(Exception):  # one that can be written once, or in another thread alone
        switch.write(before)
    (changes.undone if switch.read() == before else changes.lasting).append(switch.name)


def _switches() -> list[Switch]:
    found = [
        Switch("the folder", os.getcwd, os.chdir),
        Switch("variables of the environment", lambda: dict(os.environ), _set_variables),
        Switch("filters of warnings", lambda: list(warnings.filters), _set_filters),
        Switch("what answers signals", _signals, _set_signals),
        Switch("the locale", lambda: locale.setlocale(locale.LC_ALL), _set_locale),
        Switch("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
        Switch(
            "collection of garbage", gc.isenabled, lambda on: (gc.enable if on else gc.disable)()
        ),
        Switch("how processes start", _start_method, _set_start_method),
        *(_attribute(sys, name) for name in ("stdin", "stdout", "stderr", "excepthook")),
    ]
    if "numpy" in sys.modules:
        import numpy as np

        found.append(Switch("NumPy's errors", np.geterr, lambda before: np.seterr(**before)))
    return [*_torch_switches(), *found] if "torch" in sys.modules else found


def _torch_switches() -> list[Switch]:
    import torch
    from torch.nn.modules import module

    from ltbench.training.environment import SWITCHES

    def device() -> Any:
        context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
        return context and context.device  # None where none was set

    def modes() -> int:
        return int(torch._C._len_torch_function_stack())

    def leave_modes(before: int) -> None:
        while modes() > before:
            torch.overrides._pop_mode()

    hooks = {name: held for name, held in vars(module).items() if name.startswith("_global")}
    hooks = {name: held for name, held in hooks.items() if isinstance(held, dict)}
    between = torch.get_num_interop_threads, torch.set_num_interop_threads

    def set_hooks(before: dict[str, dict[Any, Any]]) -> None:
        for name, held in before.items():
            hooks[name].clear()
            hooks[name].update(held)

    return [
        Switch("torch's default device", device, torch.set_default_device),
        Switch("torch's modes", modes, leave_modes),
        Switch("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Switch("torch's threads", torch.get_num_threads, torch.set_num_threads),
        Switch("torch's threads between operations", *between),
        Switch("small numbers that become zero", _flushes, torch.set_flush_denormal),
        Switch("hooks of all modules", lambda: {n: dict(h) for n, h in hooks.items()}, set_hooks),
        *(Switch("a switch of torch", read, write) for read, write in SWITCHES),
    ]


def _flushes() -> bool:
    import torch

    tiny = torch.full((1,), 1e-40, dtype=torch.float32, device="cpu")
    return bool((tiny * 1 == 0).item())


def _generators() -> list[tuple[Callable[[], Any], Callable[[Any], object]]]:
    """What reads and what writes the state of each global generator of chance."""
    found: list[tuple[Callable[[], Any], Callable[[Any], object]]] = [
        (random.getstate, random.setstate)
    ]
    if "numpy" in sys.modules:
        import numpy as np

        found.append((np.random.get_state, np.random.set_state))
    if "torch" in sys.modules:
        import torch

        found.append((torch.get_rng_state, torch.set_rng_state))
    return found


def _attribute(owner: ModuleType, name: str) -> Switch:
    read, write = lambda: getattr(owner, name), lambda value: setattr(owner, name, value)
    return Switch(f"{owner.__name__}.{name}", read, write)


def _set_variables(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _set_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _signals() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _set_signals(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)


def _set_locale(before: str) -> None:
    locale.setlocale(locale.LC_ALL, before)


def _set_collection(before: bool) -> None:
    (gc.enable if before else gc.disable)()


def _start_method() -> str | None:
    return multiprocessing.get_start_method(allow_none=True)


def _set_start_method(before: str | None) -> None:
    multiprocessing.set_start_method(before, force=True)


class Patches:
    """Functions and classes of packages as they are now, and those that were changed since."""

    def __init__(self, packages: Set[str]) -> None:
        found = sys.modules.items()
        self.modules = {
            name: (module, dict(vars(module)))
            for name, module in list(found)
            if name.partition(".")[0] in packages and type(module) is ModuleType
        }
        self.classes: dict[type, dict[str, Any]] = {}
        for _, held in self.modules.values():
            for value in held.values():
                if issubclass(type(value), type) and _package_of(value) in packages:
                    self.classes[value] = {}
        self.classes = {cls: dict(vars(cls)) for cls in self.classes}
        every = [held for _, held in self.modules.values()] + list(self.classes.values())
        self.code = {
            function: (function.__code__, function.__defaults__, function.__kwdefaults__)
            for held in every
            for function in held.values()
            if type(function) is FunctionType
        }

    def undone(self) -> list[str]:
        """What was changed since, by name; it is so no longer."""
        changed = []
        for name, (module, held) in self.modules.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module
                changed.append(name)
            now, own = vars(module), name.partition(".")[0] == "ltbench"
            for key, value in held.items():
                if now.get(key, MISSING) is not value and (own or _counts(value)):
                    now[key] = value
                    changed.append(f"{name}.{key}")
        for cls, held in self.classes.items():
            changed += [f"{cls.__module__}.{cls.__qualname__}.{key}" for key in _undone(cls, held)]
        for function, code in self.code.items():
            if (function.__code__, function.__defaults__, function.__kwdefaults__) != code:
                function.__code__, function.__defaults__, function.__kwdefaults__ = code
                changed.append(f"{function.__module__}.{function.__qualname__}")
        return changed


def _package_of(cls: type) -> str:
    return str(cls.__module__).partition(".")[0]


def _undone(cls: type, held: dict[str, Any]) -> Iterator[str]:
    """The attributes of a class that were changed, or that hide those of its bases since."""
    now = dict(vars(cls))
    for key, value in held.items():
        if now.get(key, MISSING) is not value and _counts(value):
            setattr(cls, key, value)
            yield key
    for key in now.keys() - held.keys():
        if _counts(now[key]) and any(key in vars(base) for base in cls.__mro__[1:]):
            delattr(cls, key)
            yield key


def _counts(value: Any) -> bool:
    """Whether a value is not one that a package sets anew by itself, as caches and counters are."""
    kinds = float | ModuleType | property
    return callable(value) or isinstance(value, kinds) or hasattr(type(value), "__get__")


def _computed() -> str:
    """A digest of a little of all that cells compute; empty where torch is not loaded."""
    if "torch" not in sys.modules:
        return ""
    import numpy as np
    import torch
    import torch.nn.functional as F

    chance = [(write, read()) for read, write in _generators()]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
        head, labels = torch.nn.Linear(64, 3), torch.tensor([0, 2])
        scores = head(F.relu(network(torch.randn(2, 1, 6, 6))).flatten(1))
        loss = F.cross_entropy(scores, labels)
        loss.backward()
        parts = [scores, scores.softmax(1).log(), loss, head.weight.grad, torch.randperm(9)]
        told = [part.detach().cpu().numpy().tobytes() for part in parts if part is not None]
        told += [np.random.permutation(9).tobytes(), np.log(np.random.rand(9)).tobytes()]
        return hashlib.sha256(b"".join(told) + repr(random.random()).encode()).hexdigest()
    # What was left behind may make anything of it.
    except Exception as error:
        return type(error).__name__
    finally:
        torch.set_num_threads(threads)
        for write, state in chance:
            write(state)
