"""Trained networks on disk, for all cells that are due the same ones; bounded in size."""

import hashlib
import os
import tempfile
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
from ltbench.protocols.schema import Classification
from ltbench.registry.discovery import core_code
from ltbench.training import environment
from ltbench.training.timing import aside

MOST = 4 * 2**30  # bytes of one kind; what was used longest ago goes first


def key_of(
    protocol: Classification, device: torch.device, told: Sequence[Any], rows: Iterable[Tensor] = ()
) -> str:
    """A hash of all that decides the weights: what is `told`, code, versions, machine and rows."""
    network = protocol.network["name"]
    modules = (f"ltbench.tracks.{protocol.track}.track", f"ltbench.models.{network}")
    where = environment.deciding(device, protocol.compute.threads)
    content = hashlib.sha256(
        msgspec.json.encode([*map(msgspec.to_builtins, told), core_code(modules), *where])
    )
    for tensor in rows:
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def digest(*models: nn.Module) -> str:
    """A hash of networks' weights and statistics."""
    content = hashlib.sha256()
    for model in models:
        for name, value in model.state_dict().items():
            content.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
            content.update(value.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


@contextmanager
def alone(kind: str, key: str) -> Iterator[None]:
    """Has other processes wait meanwhile that are due the same networks; no clock counts that.

    Where there can be no lock, they train them too.
    """
    lock = FileLock(cache_folder() / kind / f".{key}.lock")
    with aside(), suppress(OSError):
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
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
        with suppress(OSError):
            os.utime(path)
        return kept
    return None


def write(kind: str, key: str, models: Sequence[nn.Module], **beside: float) -> None:
    """Keeps networks, whole or not at all; where that cannot be, they are trained again."""
    folder = cache_folder() / kind
    states = [{name: v.cpu() for name, v in model.state_dict().items()} for model in models]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            torch.save({"networks": states, **beside}, file)
        path = folder / f"{key}-{digest(*models)}.pt"
        os.replace(part, path)
        _bound(folder, path)
    except OSError:
        return


def _bound(folder: Path, newest: Path) -> None:
    """Drops what was used longest ago until the rest is small enough."""
    files = sorted(folder.glob("*.pt"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = newest.stat().st_size
    for path in files:
        if path != newest:
            total += path.stat().st_size
            if total > MOST:
                path.unlink(missing_ok=True)
