"""Files of weights that somebody trained before: found, read, and put into a network that fits."""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ltbench.datasets import data_folder
from ltbench.errors import LTBenchError
from ltbench.tracks.finetuning.problem import Pretrained

State = Mapping[str, Tensor]

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Of numbers in files of safetensors."""

COUNTER = "num_batches_tracked"  # of BatchNorm, which files may lack


def place(file: str, given: Mapping[str, str | Path]) -> Path:
    """Where a file of weights stands: as `given` by that name, or in the data folder.

    Raises:
        LTBenchError: there is none.
    """
    path = Path(given[file]) if file in given else data_folder() / Path(file).expanduser()
    if not path.is_file():
        raise LTBenchError(
            f"weights {file!r}: there is no file {path}; state its path, or a NAME in its place "
            "and say --data NAME=FILE"
        )
    return path.absolute()


def read(path: Path, pretrained: Pretrained) -> tuple[State, str]:
    """The tensors of a file by name, and the SHA-256 of its bytes. Nothing in it is executed.

    A file of torch holds a dict of tensors, or such a dict as "state_dict" or "model".

    Raises:
        LTBenchError: it is not the file that the protocol fixes, or holds no weights.
    """
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if pretrained.sha256 not in ("any", found):
        raise LTBenchError(
            f"weights {path} have SHA-256 {found}, but the protocol is fixed to {pretrained.sha256}"
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors(content), found
        state = torch.load(io.BytesIO(content), "cpu", weights_only=True)
        state = next((state[key] for key in ("state_dict", "model") if key in state), state)
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError("it holds other things than tensors")
        return dict(state), found
    # a file of anybody's can make a reader raise anything
    except Exception as error:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise LTBenchError(f"weights {path} cannot be read ({reason})") from None


def safetensors(content: bytes) -> State:
    """The tensors of a file of safetensors: the length of a header, the header, and numbers.

    Raises:
        ValueError: the header does not fit what comes after it.
    """
    length = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    state = {}
    for name, told in header.items():
        if name == "__metadata__":
            continue
        dtype, (start, end) = DTYPES[told["dtype"]], told["data_offsets"]
        shape = [int(size) for size in told["shape"]]
        size = dtype.itemsize * math.prod(shape)
        if not 0 <= start <= end <= len(numbers) or end - start != size:
            raise ValueError(f"{name} does not lie where the header says")
        flat = torch.frombuffer(numbers[start:end], dtype=dtype) if end > start else torch.empty(0)
        state[name] = flat.to(dtype).reshape(shape)
    return state


def put(network: nn.Module, state: State, what: str) -> nn.Module:
    """The network with the weights of a file in all of it but its head.

    Names are those of the network, or those of its `trunk` where a file knows nothing of one. What
    a file has of the network's own last layer, `upstream_head`, is left out.

    Raises:
        LTBenchError: a tensor is missing, of another shape, not finite, or of no part of it.
    """
    own = {n: v for n, v in network.state_dict().items() if not n.startswith("head.")}
    head = getattr(network, "upstream_head", "head")
    named = {n if n in own else f"trunk.{n}": v for n, v in state.items()}
    extra = [n for n in state if n not in own and f"trunk.{n}" not in own]
    extra = [n for n in extra if not n.startswith((f"{head}.", "head."))]
    name = getattr(network, "architecture", type(network).__name__)
    if extra:
        raise LTBenchError(f"{what} do not fit {name}: they have {extra[0]}, which it lacks")
    for key, value in own.items():
        if key not in named:
            if key.endswith(COUNTER):
                continue
            raise LTBenchError(f"{what} do not fit {name}: they lack {key.removeprefix('trunk.')}")
        if named[key].shape != value.shape:
            raise LTBenchError(
                f"{what} do not fit {name}: {key.removeprefix('trunk.')} is "
                f"{list(named[key].shape)}, not {list(value.shape)}"
            )
        if not named[key].isfinite().all():
            raise LTBenchError(f"{what}: {key.removeprefix('trunk.')} is not finite")
    network.load_state_dict({k: named[k] for k in own if k in named}, strict=False)
    return network
