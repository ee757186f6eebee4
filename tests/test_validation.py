from typing import Annotated, Literal

import pytest
from msgspec import Meta

from ltbench import LTBenchError
from ltbench.validation import check, is_literal, schemas, shown, types


def example(
    rho: Annotated[float, Meta(gt=0)] = 0.05,
    kind: Literal["a", "b"] = "a",
    tau: float | None = None,
    bare=1.0,
    flag=False,
):
    """Something with parameters."""


def test_values_come_back_in_the_declared_type():
    assert check("example", example, {"rho": 1}) == {"rho": 1.0}
    assert isinstance(check("example", example, {"rho": 1})["rho"], float)
    assert check("example", example, {"tau": None}) == {"tau": None}


@pytest.mark.parametrize(
    "given",
    [
        {"rho": 0},
        {"rho": "a"},
        {"kind": "c"},
        {"tau": float("nan")},
        {"bare": "x"},
        {"flag": 3},
        {"nope": 1},
    ],
)
def test_a_wrong_value_is_refused_with_its_owner_and_name(given):
    with pytest.raises(LTBenchError) as refusal:
        check("example", example, given)
    assert "example" in str(refusal.value)
    assert next(iter(given)) in str(refusal.value)


def numbers(
    bare=1.0,
    whole=3,
    typed: float = 1.0,
    counted: int = 3,
    either: int | float = 0.5,
    maybe: float | None = None,
    anything=None,
    pair=(0.5, 1.0),
    mixed=(1, 0.5),
    named={"a": 1.0, "b": 1},  # noqa: B006
    typed_pair: tuple[float, float] = (0.5, 1.0),
    any_length: tuple[float, ...] = (),
):
    """Parameters of numbers, typed and not."""


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("bare", (2, 2.0), 2.0),
        ("bare", (0, -0.0, 0.0), 0.0),
        ("whole", (2, 2.0), 2),
        ("whole", (2.5,), 2.5),
        ("typed", (2, 2.0), 2.0),
        ("counted", (2, 2.0), 2),
        ("either", (2, 2.0), 2.0),
        ("maybe", (2, 2.0), 2.0),
        ("anything", (2, 2.0), 2),
        ("anything", ([2, 1.0], [2.0, 1]), [2, 1]),
        ("pair", ((1, 2), [1.0, 2], [1, 2.0]), (1.0, 2.0)),
        ("mixed", ((1.0, 2), (1, 2.0)), (1, 2.0)),
        ("named", ({"a": 2, "b": 3.0}, {"a": 2.0, "b": 3}), {"a": 2.0, "b": 3}),
        ("typed_pair", ((1, 2), (1.0, 2.0)), (1.0, 2.0)),
        ("any_length", ((1, 2, 3), (1.0, 2.0, 3)), (1.0, 2.0, 3.0)),
    ],
)
def test_equal_numbers_come_back_as_one_in_the_type_of_the_parameter(name, values, expected):
    for value in values:
        assert shown(check("numbers", numbers, {name: value})[name]) == shown(expected)


def test_a_number_too_large_for_its_type_is_refused():
    for name in ("bare", "typed", "whole"):
        with pytest.raises(LTBenchError, match=f"{name}=1000.* is refused"):
            check("numbers", numbers, {name: 10**400})


@pytest.mark.parametrize("value", [[float("nan")], (1.0, float("inf")), {"a": float("-inf")}])
def test_numbers_within_a_value_are_finite_too(value):
    with pytest.raises(LTBenchError, match="expected a finite number"):
        check("numbers", numbers, {"anything": value})


def test_an_annotation_that_cannot_be_read_leaves_the_type_of_the_default():
    def example(tau: "NotThere" = 1.0, kind: "1 / 0" = "a"):  # noqa: F821
        """Annotated by what is not there."""

    assert types(example) == {"tau": int | float, "kind": str}
    assert check("example", example, {"tau": 2}) == {"tau": 2.0}


def test_an_annotation_that_is_no_type_of_a_value_is_told_in_a_line():
    def example(tau: dict[object, type] | set[type] = None):
        """Annotated by what no value has."""

    with pytest.raises(LTBenchError, match="example: tau=3 is refused"):
        check("example", example, {"tau": 3})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({3, 1, 2}, "{1, 2, 3}"),
        ({"b", "a", "c"}, "{'a', 'b', 'c'}"),
        (set(), "set()"),
        ({"b": {2.0, 1.0}, "a": 1}, "{'a': 1, 'b': {1.0, 2.0}}"),
        (("a",), "('a',)"),
        ((1, [2.0, None]), "(1, [2.0, None])"),
        ((), "()"),
        ("it's", '"it\'s"'),
    ],
)
def test_equal_literals_are_written_alike(value, expected):
    assert is_literal(value)
    assert shown(value) == expected


@pytest.mark.parametrize(
    "value", [float("nan"), object(), len, 1j, b"a", "\udce9", {1: 2}, [object()], 2**64, range(3)]
)
def test_what_cannot_be_written_and_read_again_is_no_literal(value):
    assert not is_literal(value)


def test_an_untyped_parameter_is_held_to_the_type_of_its_default():
    assert check("example", example, {"bare": 2}) == {"bare": 2}


def test_schemas_tell_types_ranges_and_defaults():
    told = schemas(example)
    assert told["rho"] == {"type": "number", "exclusiveMinimum": 0, "default": 0.05}
    assert told["kind"]["enum"] == ["a", "b"]
