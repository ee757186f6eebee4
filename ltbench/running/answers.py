"""What a worker says of test rows, as bytes that are read as data: nothing in them can run."""

from typing import Any, Literal

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from ltbench.contract.track import Answer
from ltbench.errors import LTBenchError
from ltbench.results.records import Status, Timing
from ltbench.texts import line

Kind = Literal["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "|u1", "|b1"]


class Numbers(Struct, frozen=True):
    """A tensor as its bytes."""

    kind: Kind
    shape: list[int]
    content: bytes


class Said(Struct, frozen=True, kw_only=True):
    """What a worker says in the end: an answer, or why there is none.

    `environment` is what it runs in.
    """

    status: Status = "ok"
    reason: str = ""
    environment: dict[str, Any]
    scores: Numbers | None = None
    predicted: Numbers | None = None
    adapted: tuple[Numbers, Numbers] | None = None
    timing: Timing | None = None
    notes: list[str] = []
    continued: int = 0
    stage: str = ""
    measures: dict[str, float] = {}


def packed(
    answer: Answer | None, environment: dict[str, Any], status: Status = "ok", reason: str = ""
) -> bytes:
    """The bytes that say an answer, or why there is none.

    Raises:
        LTBenchError: it holds what cannot be written down.
    """
    told: dict[str, Any] = {}
    if answer is not None:
        adapted = answer.adapted
        told = {
            "scores": _numbers(answer.scores),
            "predicted": _numbers(answer.predicted),
            "adapted": adapted and (_numbers(adapted[0]), _numbers(adapted[1])),
            "timing": answer.timing,
            "notes": [line(note) for note in answer.notes],
            "continued": answer.continued,
            "stage": answer.stage,
            "measures": dict(answer.measures),
        }
    said = Said(status=status, reason=reason, environment=environment, **told)
    try:
        return msgspec.msgpack.encode(said)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise LTBenchError(f"its answer holds what no record does: {error}") from None


def unpacked(content: bytes) -> tuple[Said, Answer | None]:
    """What a worker said, and its answer if there is one.

    Raises:
        LTBenchError: it is none.
    """
    try:
        said = msgspec.msgpack.decode(content, type=Said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LTBenchError(f"its answer is none: {str(error).replace('`', '')}") from None
    if said.status != "ok":
        return said, None
    if said.scores is None or said.predicted is None or said.timing is None:
        raise LTBenchError("its answer lacks scores, labels or its cost")
    adapted = said.adapted and (_tensor(said.adapted[0]), _tensor(said.adapted[1]))
    answer = Answer(
        scores=_tensor(said.scores),
        predicted=_tensor(said.predicted),
        timing=said.timing,
        adapted=adapted,
        notes=said.notes,
        continued=said.continued,
        stage=said.stage,
        measures=said.measures,
    )
    return said, answer


def refuse_unfit(answer: Answer, rows: int, classes: int) -> None:
    """Refuses an answer that is not of so many rows and classes.

    Raises:
        LTBenchError: it is not.
    """
    for scores, predicted in ((answer.scores, answer.predicted), *filter(None, [answer.adapted])):
        if list(scores.shape) != [rows, classes] or list(predicted.shape) != [rows]:
            raise LTBenchError(
                f"scores {list(scores.shape)} and labels {list(predicted.shape)} are not those of "
                f"{rows} rows and {classes} classes"
            )
        if not torch.isfinite(scores.double()).all():
            raise LTBenchError("scores are not finite numbers")
        if predicted.is_floating_point():
            raise LTBenchError(f"decided labels are {predicted.dtype}, no whole numbers")
        if rows and not ((predicted >= 0) & (predicted < classes)).all():
            raise LTBenchError(f"a decided label is not in 0..{classes - 1}")


def _numbers(tensor: Tensor) -> Numbers:
    array = tensor.detach().cpu().contiguous().numpy()
    kind: Any = array.dtype.str
    return Numbers(kind, list(array.shape), array.tobytes())


def _tensor(numbers: Numbers) -> Tensor:
    try:
        array = np.frombuffer(numbers.content, dtype=numbers.kind).reshape(numbers.shape)
    except ValueError as error:
        raise LTBenchError(f"its answer is none: {error}") from None
    return torch.from_numpy(array.copy())
