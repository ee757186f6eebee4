"""Trained networks on disk, for all cells that are due the same ones; bounded in size."""

import hashlib
import io
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import torch
from filelock import FileLock
from torch import Tensor, nn

from ltbench.datasets import cache_folder
from ltbench.errors import LTBenchError
from ltbench.models import module_of
from ltbench.protocols.schema import Classification
from ltbench.registry.discovery import core_code
from ltbench.training import environment
from ltbench.training.timing import aside

MOST = 4 * 2**30  # bytes of one kind; what was used longest ago goes first
TORN = 3600.0  # seconds after which nobody is still writing a part of a file


def key_of(
    protocol: Classification, device: torch.device, told: Sequence[Any], rows: Iterable[Tensor] = ()
) -> str:
    """A hash of all that decides the weights: what is `told`, code, versions, machine and rows."""
    where = environment.deciding(device, protocol.compute.threads)
    content = hashlib.sha256(
        msgspec.json.encode([*map(msgspec.to_builtins, told), code_of(protocol), *where])
    )
    for tensor in rows:
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def code_of(protocol: Classification) -> str:
    """A digest of the benchmark's own code that trains a protocol's networks."""
    network = protocol.network["name"]
    return core_code((f"ltbench.tracks.{protocol.track}.track", module_of(network)))


def digest(*models: nn.Module) -> str:
    """A hash of networks' weights and statistics."""
    content = hashlib.sha256()
    for model in models:
        for name, value in model.state_dict().items():
            content.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
            content.update(value.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


@contextmanager
def alone(kind: str, key: str, patience: float = -1) -> Iterator[bool]:
    """Has other processes wait meanwhile that are due the same networks; no clock counts that.

    Where there can be no lock, they train them too, as they do after so many seconds of `patience`,
    if that is a number from 0 on. Tells whether there is one.
    """
    lock = FileLock(cache_folder() / kind / f".{key}.lock", timeout=patience)
    with aside(), suppress(OSError):  # one that took too long is one of them
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def there(kind: str, key: str) -> bool:
    """Whether networks are kept under a key."""
    return any((cache_folder() / kind).glob(f"{key}-*.pt"))


def read(kind: str, key: str, models: Sequence[nn.Module]) -> dict[str, Any] | None:
    """Puts kept weights into networks, and gives what was kept beside them; None if none are.

    Raises:
        LTBenchError: they are damaged, or not the ones that were kept.
    """
    for path in sorted((cache_folder() / kind).glob(f"{key}-*.pt")):
        said, advice = f"{kind[:-1]} {path}", "delete it, and it is trained again"
        try:
            kept: dict[str, Any] = torch.load(path, "cpu", weights_only=True)
            states = kept.pop("networks")
            for model, state in zip(models, states, strict=True):
                model.load_state_dict(state)
        # a damaged file can make the reader raise anything
        except Exception as error:
            reason = " ".join(str(error).split())[:100]
            raise LTBenchError(f"{said} cannot be read ({reason}); {advice}") from None
        found, recorded = digest(*models), path.stem.partition("-")[2]
        if found != recorded:
            raise LTBenchError(f"{said} has weights of hash {found}, not {recorded}; {advice}")
        touch(path)
        return kept
    return None


def write(kind: str, key: str, models: Sequence[nn.Module], **beside: float) -> None:
    """Keeps networks, whole or not at all; where that cannot be, they are trained again."""
    states = [{name: v.cpu() for name, v in model.state_dict().items()} for model in models]
    buffer = io.BytesIO()
    torch.save({"networks": states, **beside}, buffer)
    put(kind, f"{key}-{digest(*models)}.pt", buffer.getvalue(), MOST)


def put(kind: str, name: str, content: bytes, most: int) -> str:
    """Keeps a file, whole or not at all, among others of at most so many bytes; tells why not."""
    folder = cache_folder() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(part, folder / name)
        except OSError:
            os.unlink(part)
            raise
        _bound(folder, folder / name, most)
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    return ""


def touch(path: Path) -> None:
    """Notes that a file was used, so that it stays."""
    with suppress(OSError):
        os.utime(path)


def _bound(folder: Path, newest: Path, most: int) -> None:
    """Drops what was used longest ago until the rest is small enough, and what kills left torn."""
    found = []
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another has dropped it
            found.append((entry.stat(), Path(entry.path)))
    now, total = time.time(), 0
    for told, path in sorted(found, key=lambda one: (one[1] != newest, -one[0].st_mtime)):
        if path.suffix == ".pt":
            total += told.st_size
            if total > most and path != newest:
                path.unlink(missing_ok=True)
                path.with_name(f".{path.stem.partition('-')[0]}.lock").unlink(missing_ok=True)
        elif path.name.startswith(tempfile.gettempprefix()) and now - told.st_mtime > TORN:
            path.unlink(missing_ok=True)
