"""What a method keeps in itself between epochs: a training resumes with it, or not at all."""

import hashlib
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ltbench.contract.context import Rows, Run
from ltbench.contract.method import Method

Kept = dict[str, Any]


class Unresumable(Exception):
    """A state that is not one of the training that it is to continue."""


def told(method: Method, run: Run) -> Kept | None:
    """Every attribute of the methods and a hash of their training rows; None if that is not all.

    Numbers, texts, tensors and containers of them can be told. Of anything else, and of tensors
    that share memory with the network or with rows that were written to, it is not known whether
    they would be made again.
    """
    assert run.model is not None and run.train is not None
    shared = {_memory(tensor) for tensor in run.model.state_dict().values()}
    rows = (vars(run.train).get("inputs"), run.train.labels, *run.train.beside().values())
    shared |= {_memory(tensor) for tensor in rows if tensor is not None and tensor._version > 0}
    attributes = [dict(vars(one)) for one in _methods(method)]
    if not all(_is_plain(one, shared) for one in attributes):
        return None
    if any("it resumes" in one.expected_failures for one in _methods(method)):
        return None
    return {"methods": attributes, "rows": digest_of(run.train)}


def put_back(method: Method, run: Run, kept: Kept) -> None:
    """Has the methods stand as they stood.

    Raises:
        Unresumable: the rows to train on are others than they were.
    """
    assert run.train is not None
    if kept["rows"] != digest_of(run.train):
        raise Unresumable("its training rows did not come out the same")
    for one, attributes in zip(_methods(method), kept["methods"], strict=True):
        vars(one).update(attributes)


def _methods(method: Method) -> list[Method]:
    return getattr(method, "methods", [method])


def _is_plain(value: Any, shared: set[int]) -> bool:
    if isinstance(value, Tensor):
        return type(value) is Tensor and not value.requires_grad and _memory(value) not in shared
    if isinstance(value, dict):
        return all(_is_plain(one, shared) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(_is_plain(one, shared) for one in value)
    return value is None or type(value) in (bool, int, float, complex, str, bytes)


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def digest_of(rows: Rows) -> str:
    """A hash of all that rows hold."""
    digest = hashlib.sha256()
    for tensor in chain(rows.portions(), (rows.labels, *rows.beside().values())):
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(flat.numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()
