"""A GPU that is not there: tensors that say they are on `cuda`, and compute on the CPU.

It refuses what CUDA refuses: an operation on tensors of both devices, a generator of the other one,
an array made of a tensor that is not on the CPU. Numbers come out as the CPU's, to the bit.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch._dynamo  # what it loads must not meet the patches
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

CUDA = torch.device("cuda", 0)
CROSSES = {"_to_copy", "copy_"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class OnGpu(Tensor):
    """What is told to be on the GPU, around the CPU's tensor that holds it."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnGpu":
        tensor: OnGpu = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device="meta",  # what is written in C++ asks no driver for it
        )
        tensor.held = held
        return tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnGpu":
        if id(self) not in memo:
            twin = self.detach().clone().requires_grad_(self.requires_grad)
            twin.grad = copy.deepcopy(self.grad, memo)
            if isinstance(self, torch.nn.Parameter):
                twin._is_param = True
            memo[id(self)] = twin
        return memo[id(self)]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __format__(self, spec: str) -> str:
        return format(self.held, spec)

    def __repr__(self) -> str:
        return f"on gpu: {self.held!r}"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Generator(torch.Generator):
    """A generator of the CPU that may say it is the GPU's."""

    told: torch.device

    def __new__(cls, device: Any = "cpu") -> "Generator":
        made: Generator = super().__new__(cls)
        made.told = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.told


class Dispatch(TorchDispatchMode):
    """Sees every operation, those that make tensors out of nothing too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """Sees what asks the driver, or has numbers turned into tensors, above all operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in MOVES:
            return _moved(func, *args, **kwargs)
        if func is Tensor.data.__get__ and isinstance(args[0], OnGpu):  # type: ignore[attr-defined]
            return args[0].detach()
        if func in MADE_OF_NUMBERS:
            like = args[0].device if func is Tensor.new_tensor else torch.device("cpu")
            goal = torch.device(kwargs.pop("device", None) or like)
            learns = kwargs.pop("requires_grad", False)
            made = _moved(Tensor.to, func(*args, device="cpu", **kwargs), goal)
            return made.requires_grad_() if learns else made
        if func in INDEXING:
            args = (args[0], _positions(args[1]), *args[2:])
        found = func(*args, **kwargs)
        generator = kwargs.get("generator")
        if isinstance(generator, Generator) and isinstance(found, Tensor):
            goal, given = found.device, generator.told
            if given.type != goal.type:
                raise RuntimeError(
                    f"{func.__name__}: a generator of {given} for a tensor on {goal}"
                )
        return found


MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda}
MADE_OF_NUMBERS = {torch.tensor, torch.as_tensor, Tensor.new_tensor}
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}


def _moved(func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`tensor` elsewhere or otherwise, or as it is where nothing else was asked for."""
    words = [*args, *kwargs.values()]
    goal = tensor.device.type
    for device in ("cpu", "cuda"):
        if func is getattr(Tensor, device) or any(_is(word, device) for word in words):
            goal = device
    types = [
        word if isinstance(word, torch.dtype) else word.dtype for word in words if _typed(word)
    ]
    asked: dict[str, Any] = {}
    if goal != tensor.device.type:
        asked["device"] = torch.device(goal)
    if types and types[0] != tensor.dtype:
        asked["dtype"] = types[0]
    if kwargs.get("memory_format") is not None:
        asked["memory_format"] = kwargs["memory_format"]
    if not asked:
        return tensor
    return torch.ops.aten._to_copy(tensor, **asked)


def _positions(index: Any) -> Any:
    """An index whose lists are tensors of the CPU, which CUDA takes as well."""
    if isinstance(index, tuple):
        return tuple(map(_positions, index))
    return torch.tensor(index) if isinstance(index, list) else index


def _typed(word: Any) -> bool:
    return isinstance(word, torch.dtype | Tensor)


def _is(word: Any, device: str) -> bool:
    if isinstance(word, Tensor):
        return word.device.type == device
    return isinstance(word, str | torch.device) and torch.device(word).type == device


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    leaves = tree_flatten((args, kwargs))[0]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    there = any(isinstance(tensor, OnGpu) for tensor in tensors)
    assert all(isinstance(one, OnGpu) or not one.is_meta for one in tensors), f"{name} lost a value"
    asked = kwargs.get("device")
    goal = there if asked is None else torch.device(asked).type in ("cuda", "meta")
    _refuse_mixed(func, name, args, tensors, there)
    if not there and not goal:
        return func(*args, **kwargs)
    given, named = tree_map_only(OnGpu, lambda tensor: tensor.held, (args, kwargs))
    if asked is not None:
        named["device"] = torch.device("cpu")
    found = func(*given, **named)
    if not goal:
        return found
    out = tree_map(lambda one: OnGpu(one) if isinstance(one, Tensor) else one, found)
    if not there:
        return out
    return return_and_correct_aliasing(func, args, kwargs, out)


def _refuse_mixed(func: Any, name: str, args: Any, tensors: list[Tensor], there: bool) -> None:
    """As CUDA does; a number without dimensions may come from the CPU where each element is taken
    by itself, and so may the positions in a tensor of the GPU.
    """
    if not there or name in CROSSES:
        return
    if name in INDEXED and isinstance(args[0], OnGpu):
        tensors = [*tensors[:1], *([args[2]] if len(args) > 2 else [])]
    each = torch.Tag.pointwise in func.tags or name in INDEXED
    for tensor in tensors:
        if not isinstance(tensor, OnGpu) and not (each and tensor.dim() == 0):
            raise RuntimeError(f"{name}: a tensor {list(tensor.shape)} of the CPU among the GPU's")


@contextmanager
def gpu() -> Iterator[torch.device]:
    """A device `cuda` within."""
    with (
        patch.object(torch, "Generator", Generator),
        patch.object(torch.cuda, "get_rng_state", lambda device=None: torch.get_rng_state()),
        patch.object(torch.cuda, "set_rng_state", lambda state, device=None: None),
        patch.object(torch.cuda, "synchronize", lambda device=None: None),
        patch.object(torch.cuda, "reset_peak_memory_stats", lambda device=None: None),
        patch.object(torch.cuda, "memory_allocated", lambda device=None: 0),
        patch.object(torch.cuda, "max_memory_allocated", lambda device=None: 0),
        patch.object(torch.cuda, "get_device_name", lambda device=None: "pretended"),
        patch.object(torch.cuda, "_lazy_init", lambda: None),
        torch.backends.cudnn.flags(enabled=False),
        Functions(),
        Dispatch(),
    ):
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            yield torch.device("cuda")
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
            torch.__future__.set_overwrite_module_params_on_conversion(False)
