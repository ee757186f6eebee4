import io
import re
from types import SimpleNamespace

import pytest
from msgspec import structs

from ltbench.commands.progress import in_hand, view
from ltbench.results.records import Record, Timing
from ltbench.running.observers import watched
from ltbench.running.plan import Event
from ltbench.scoring.measures import Measure
from ltbench.training import events
from ltbench.training.events import Epoch


class Cell:
    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


RECORD = Record(
    protocol="tiny",
    version=1,
    hash="",
    track="recognition",
    fingerprint="",
    recipe="sam[x]",
    parameters={},
    plugins={},
    seed=0,
    status="ok",
    environment={},
    measures={"balanced_accuracy": 0.75},
    timing=Timing(1.5, 1.5, 0.75, 2.0, 2.0, 0.0),
)
FAILED = structs.replace(RECORD, seed=1, status="failed", reason="it broke", timing=None)
FIRST, SECOND = Cell("sam[x] seed 0"), Cell("sam[x] seed 1")
EVENTS = [
    Event(began=FIRST),
    Event(began=SECOND),
    Event(),
    Event(within=SECOND, told=Epoch(0.25, 1, 4, 2.0)),
    Event(within=FIRST, told="begins anew"),
    Event(ended=RECORD),
    Event(ended=FAILED),
]
TRACK = SimpleNamespace(
    shown=lambda protocol: ["balanced_accuracy"],
    measure=lambda name: Measure(name, name.replace("_", " ")),
)
PLAN = SimpleNamespace(todo=[FIRST, SECOND], track=TRACK, protocol=None)


def test_elsewhere_than_on_a_terminal_each_cell_is_a_plain_line(capsys):
    with watched(PLAN, {"progress": view()}) as watch:
        for event in EVENTS:
            watch(event)
    assert capsys.readouterr().err.splitlines() == [
        "sam[x] seed 0 begins anew",
        "[1/2] sam[x] seed 0: balanced accuracy 75.0, 1.50 s (2.00x)",
        "[2/2] sam[x] seed 1 failed: it broke",
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_tells_done_left_and_how_far_is_what_is_in_hand(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    text = lambda: re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())  # noqa: E731
    with watched(PLAN, {"progress": view()}) as watch:
        watch(EVENTS[0]), watch(EVENTS[1])
        assert "0/2 done" in text()
        assert "sam[x] seed 0 | sam[x] seed 1" in text()
        watch(EVENTS[2]), watch(EVENTS[3])
        assert "sam[x] seed 0 | sam[x] seed 1 25%" in text()
        for event in EVENTS[4:]:
            watch(event)
    assert "sam[x] seed 0 begins anew" in text()
    assert "2/2 done" in text()
    assert "sam[x] seed 0: balanced accuracy 75.0, 1.50 s (2.00x)" in text()
    assert "sam[x] seed 1 failed: it broke" in text()


def test_at_80_columns_bar_and_time_have_a_line_and_cells_in_hand_another(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    long = Cell("mixup+balanced-softmax+imbsam(rho=0.125,share=0.5) seed 0")
    plan = SimpleNamespace(todo=[FIRST, long], track=TRACK, protocol=None)
    with watched(plan, {"progress": view()}) as watch:
        watch(Event(began=FIRST)), watch(Event(began=long))
        watch(Event(within=long, told=Epoch(0.25, 1, 4, 2.0)))
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).splitlines()
    lines = [line.rstrip() for line in re.split(r"[\r\n]", "\n".join(lines))]
    assert max(map(len, lines)) <= 80
    bars = [line for line in lines if "0/2 done, left: -:--:--" in line]
    assert bars and all("━" in line for line in bars)
    (cells,) = {line for line in lines if "25%" in line}
    assert cells.startswith("sam[x] seed 0 | mixup+") and cells.endswith("seed 0 25%")


@pytest.mark.parametrize("width", [40, 80])
def test_cells_in_hand_fit_the_line_as_long_as_they_are_few(width):
    shares = {f"mixup+balanced-softmax+sam seed {k}": 0.5 for k in range(2)}
    line = in_hand(shares, width)
    assert len(line) <= width
    assert line.count("…") == 2 * (width == 40)
    assert "eed 0 50% |" in line and line.endswith("eed 1 50%")


def test_shares_told_in_parts_are_those_of_the_whole():
    heard = []
    with events.heard_by(heard.append):
        for k in range(2):
            with events.part(k, 2):
                events.say("a note")
                for position in range(2):
                    with events.part(position, 2), events.heard_by(None):
                        events.say("unheard")
    assert [told.share for told in heard if isinstance(told, Epoch)] == pytest.approx(
        [0.25, 0.5, 0.5, 0.75, 1, 1]
    )
    assert heard.count("a note") == 2
    assert "unheard" not in heard
