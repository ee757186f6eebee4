"""What a command prints, where, and on which terminal."""

import json
import os
import pty
import subprocess
import sys

import pytest

from ltbench.commands import printing
from ltbench.commands.main import COMMANDS, main

COMMAND = [sys.executable, "-m", "ltbench"]
LOUD = """
import atexit
import os
import subprocess
import sys

from ltbench import Method, hookimpl


def shout():
    print("*** welcome ***")
    sys.stdout.write("*** written ***\\n")
    os.write(1, b"*** raw ***\\n")
    subprocess.run([sys.executable, "-c", "print('*** from below ***')"])


class Mine(Method):
    \"\"\"Prints whenever it can.\"\"\"

    name = "mine"

    def __init__(self, tau: float = 1.0):
        shout()
        self.tau = tau

    def adjust(self, scores, labels, run):
        shout()
        return scores


@hookimpl
def register_methods(register):
    shout()
    register(Mine)


shout()
atexit.register(print, "*** good bye ***")
"""


def run(*words, cwd, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of one recipe whose row has letters that few encodings hold."""
    from conftest import TINY

    folder = tmp_path_factory.mktemp("folder")
    (folder / "tiny.toml").write_text(TINY.replace("Digits, for", "Ziffern – für ± 0 日本, for"))
    (folder / "loud.py").write_text(LOUD)
    done = run("run", "tiny.toml", "-m", "erm", "--seeds", 1, cwd=folder)
    assert done.returncode == 0
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_keeps_standard_output_for_its_results(name):
    found = main.get_command(None, name)
    for one in getattr(found, "commands", {name: found}).values():
        assert isinstance(one, printing.Command)


def test_what_a_plugin_prints_goes_to_standard_error(folder):
    done = run("list", "methods", "--json", "--plugin", "loud.py", cwd=folder)
    assert "mine" in [method["name"] for method in json.loads(done.stdout)]
    for told in (b"welcome", b"written", b"raw", b"from below", b"good bye"):
        assert told in done.stderr


def test_what_a_cell_prints_in_this_process_is_no_result(folder):
    words = ("run", "tiny.toml", "-m", "mine", "--seeds", 1, "--jobs", 1, "--fresh")
    done = run(*words, "--plugin", "loud.py", "--results", "loud", cwd=folder)
    assert done.returncode == 0
    assert done.stdout == (folder / "loud" / "tiny" / "table.md").read_bytes()
    assert done.stderr.count(b"*** raw ***") > 3


def test_help_is_a_result(folder):
    for words in (["--help"], ["run", "--help"], ["--version"]):
        assert run(*words, cwd=folder).stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=lambda environment: " ".join(environment.values()),
)
def test_a_terminal_of_few_letters_shows_what_it_can(folder, environment):
    for words in (("info", "tiny.toml"), ("run", "tiny.toml", "-m", "erm", "--seeds", "1")):
        done = run(*words, cwd=folder, **environment)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert b"`erm`" in done.stdout


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_a_run_goes_on_when_nobody_reads_it(folder, closed):
    reader, writer = os.pipe()
    os.close(reader)
    streams = {name: writer for name in ("stdout", "stderr") if closed in (name, "both")}
    words = ["run", "tiny.toml", "-m", "erm", "--fresh", "--seeds", "1", "--jobs", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams}
    words += ["--results", f"unread-{closed}"]
    done = subprocess.run([*COMMAND, *words], cwd=folder, timeout=120, **quiet)
    os.close(writer)
    assert done.returncode == 0
    assert (folder / f"unread-{closed}" / "tiny" / "table.md").exists()


def test_closed_streams_end_nothing(folder):
    words = "list methods >&- 2>&-; echo $?"
    done = subprocess.run(
        f"{sys.executable} -m ltbench {words}", shell=True, cwd=folder, capture_output=True
    )
    assert done.stdout == b"0\n"


def test_a_terminal_of_few_letters_shows_a_run_while_it_goes_on(folder):
    main_end, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "xterm", "COLUMNS": "60"}
    words = ["run", "tiny.toml", "-m", "erm", "--seeds", "2", "--jobs", "2", "--results", "live"]
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=folder, env=environment, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    told = b""
    while True:
        try:
            told += os.read(main_end, 4096)
        except OSError:  # the other end is closed
            break
    os.close(main_end)
    assert process.wait(timeout=120) == 0, told
    assert b"Traceback" not in told


def test_letters_that_no_encoding_holds_are_shown_all_the_same(capsys):
    printing.say("caf\udce9 \ud800")
    printing.print_json({"caf\udce9": ["\udce9", object]})
    told = capsys.readouterr().out
    assert told.startswith("café \ufffd\n")
    assert json.loads(told.partition("\n")[2]) == {"café": ["é", repr(object)]}
