"""Malformed text of every kind is refused in a line or two, and never with a traceback."""

import msgspec
import pytest
from conftest import TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_record import RECORD
from test_tabular import SMALL

from ltbench import LTBenchError
from ltbench.registry.registry import installed
from ltbench.results.records import Record, Rejected, folder_of, read

often = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PIECES = ["ldam", "drw", "sam", "(", ")", "rho", "=", "0.8", "+", ",", " ", "'", "[", "**", "\n"]
PIECES += ["1e999", "nan", "-", "None", "{}", "__import__('os')", "lambda: 0", "\0", "é"]


def refused(error):
    lines = str(error).splitlines()
    assert 0 < len(lines) <= 4
    assert "Traceback" not in str(error)


@often
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=14).map("".join)))
def test_any_text_is_a_recipe_or_refused(text):
    try:
        made = installed().recipe(text)
    except LTBenchError as error:
        refused(error)
    else:
        assert installed().recipe(made.text).text == made.text  # its spelling is canonical


@st.composite
def damaged(draw, text):
    """A text with parts cut out, doubled or put in the place of others."""
    for _ in range(draw(st.integers(1, 3))):
        lines = text.split("\n")
        k = draw(st.integers(0, len(lines) - 1))
        other = draw(st.sampled_from(lines))
        kind = draw(st.sampled_from(["drop", "double", "replace", "cut", "insert", "value"]))
        if kind == "drop":
            del lines[k]
        elif kind == "double":
            lines.insert(k, lines[k])
        elif kind == "replace":
            lines[k] = other
        elif kind == "cut":
            lines[k] = lines[k][: draw(st.integers(0, len(lines[k])))]
        elif kind == "insert":
            at = draw(st.integers(0, len(lines[k])))
            lines[k] = lines[k][:at] + draw(st.text(max_size=3)) + lines[k][at:]
        else:
            values = [
                "-1",
                "0",
                "1e400",
                '""',
                "[]",
                "{}",
                "true",
                '"../x"',
                "nan",
                "99999999999999999999",
            ]
            lines[k] = lines[k].partition("=")[0] + "= " + draw(st.sampled_from(values))
        text = "\n".join(lines)
    return text


@pytest.mark.parametrize("text", [TINY, SMALL], ids=["recognition", "tabular"])
@often
@given(data=st.data())
def test_a_damaged_protocol_is_one_or_refused(text, data, tmp_path):
    path = tmp_path / "damaged.toml"
    path.write_bytes(data.draw(damaged(text)).encode("utf-8", "replace"))
    try:
        assert installed().protocol(path).hash
    except LTBenchError as error:
        refused(error)


@often
@given(data=st.data())
def test_a_damaged_record_is_counted_only_if_nothing_changed(data, tmp_path):
    whole = msgspec.json.format(msgspec.json.encode(RECORD.sealed()), indent=1).decode()
    folder = tmp_path / folder_of(RECORD.recipe)
    folder.mkdir(exist_ok=True)
    path = folder / f"seed-{RECORD.seed}.json"
    path.write_bytes(data.draw(damaged(whole)).encode("utf-8", "replace"))
    found = read(path)
    if isinstance(found, Record):
        assert found == RECORD.sealed()
    else:
        assert isinstance(found, Rejected)
        assert len(str(found).splitlines()) == 1
