"""Full disks, folders that cannot be written, eight runs at once, and records made up by others."""

import os
import re
import resource
import subprocess
import sys
import textwrap
from multiprocessing import get_context

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import structs
from sample_record import PREDICTIONS, RECORD

from ltbench import LTBenchError
from ltbench.api import run
from ltbench.boards.leaderboard import Leaderboard, Row
from ltbench.boards.markdown import markdown
from ltbench.boards.reading import read as read_board
from ltbench.commands.main import main
from ltbench.registry.registry import Registry
from ltbench.results.merging import merge
from ltbench.results.records import Rejected, path_of, read_all, write
from ltbench.scoring.measures import Measure
from ltbench.scoring.statistics import Cost, Mean, Resolution

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it takes Linux to make the faults")


FORK = get_context("fork")


def contents(folder):
    """The bytes of every file below a folder but the locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {path: path.read_bytes() for path in files}


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 KB, to be filled or made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def refused(done, told):
    """The command ended with code 2 and one line that tells why."""
    assert done.exit_code == 2, done.output
    line = done.stderr.splitlines()[-1]
    assert re.search(told, line)
    assert "Traceback" not in done.output


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_leaves_earlier_records_as_they_were(ltbench, tiny, disk, jobs):
    words = ["run", tiny, "--results", disk, "--jobs", jobs]
    assert ltbench(*words, "-m", "erm").exit_code == 0
    before = contents(disk)
    with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="space"):
        while True:
            filler.write(bytes(4096))
    for more in (["-m", "sam"], ["-m", "erm", "--fresh"]):
        refused(ltbench(*words, *more), r"seed-\d.json cannot be written: No space left on device$")
    (disk / "filler").unlink()
    after = contents(disk)
    if jobs > 1:  # the other worker is killed, maybe while it writes what nobody will read
        after = {path: content for path, content in after.items() if path.name[0] != "."}
    assert after == before
    assert ltbench(*words, "-m", "sam").exit_code == 0


def test_a_bound_on_files_leaves_earlier_records_as_they_were(tiny, tmp_path):
    results = tmp_path / "results"
    run(tiny, ["erm"], seeds=1, results=results)
    before = contents(results)

    told = FORK.SimpleQueue()

    def work(words):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        words = ["run", str(tiny), "--results", str(results), "--seeds", "1", "--jobs", "1", *words]
        done = CliRunner().invoke(main, words)
        told.put((done.exit_code, done.stderr))

    for words in (["-m", "sam"], ["-m", "erm", "--fresh"]):
        process = FORK.Process(target=work, args=(words,))
        process.start()
        code, line = told.get()
        process.join()
        assert code == 2
        assert line.endswith("seed-0.json cannot be written: File too large\n")
        assert len(line.splitlines()) == 1
    assert contents(results) == before


@pytest.fixture
def read_only(tiny, request):
    """A results folder with one record that nobody may write to, the superuser included."""
    if os.geteuid():
        results = tiny.parent / "results"
        run(tiny, ["erm"], seeds=1, results=results)
        for folder in [results, *(path for path in results.rglob("*") if path.is_dir())]:
            folder.chmod(0o555)
        yield results
        for folder in [results, *(path for path in results.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        return
    disk = request.getfixturevalue("disk")
    run(tiny, ["erm"], seeds=1, results=disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    yield disk


def test_a_read_only_folder_can_be_read_and_no_more(ltbench, tiny, read_only):
    before = contents(read_only)
    told = rf"^Error: results folder {read_only}/tiny cannot be written: (Read-only|Permission)"
    refused(ltbench("run", tiny, "--results", read_only, "-m", "sam"), told)
    assert ltbench("leaderboard", tiny, "--results", read_only).exit_code == 0
    assert "done: 1 ok, left: 1" in ltbench(
        "status", tiny, "--results", read_only, "-m", "erm", "--seeds", 2
    ).stdout.replace(";", ",")
    assert contents(read_only) == before


MARKS = """
    import os
    from pathlib import Path
    from ltbench import Method, hookimpl

    class Marks(Method):
        name = "marks"

        def __init__(self, k: int = 0):
            self.k = k

        def build(self, model, run):
            with Path({file!r}).open("a") as file:
                file.write(f"{{self.k}} {{run.seed}}\\n")
            return model

    @hookimpl
    def register_methods(register):
        register(Marks)
"""


def test_eight_runs_at_once_do_each_cell_once(tiny, tmp_path):
    plugin, marks = tmp_path / "marks.py", tmp_path / "marks"
    plugin.write_text(textwrap.dedent(MARKS).format(file=str(marks)))
    recipes = [f"marks(k={k})" for k in range(1, 6)]
    words = [word for recipe in recipes for word in ("-m", recipe)]
    words = ["run", str(tiny), "--plugin", str(plugin), "--seeds", "4", "--jobs", "1", *words]

    def work():
        os._exit(
            CliRunner().invoke(main, [*words, "--results", str(tmp_path / "shared")]).exit_code
        )

    runs = [FORK.Process(target=work) for _ in range(8)]
    for process in runs:
        process.start()
    for process in runs:
        process.join()
    assert [process.exitcode for process in runs] == [0] * 8
    told = marks.read_text().splitlines()
    assert len(told) == len(set(told)) == 20
    shared = list(read_all(tmp_path / "shared", "tiny"))
    alone = run(tiny, recipes, seeds=4, results=tmp_path / "alone", plugins=[plugin])
    key = lambda record: (record.recipe, record.seed)  # noqa: E731
    numbers = [
        [(key(r), r.measures, r.recall, r.arrays) for r in sorted(found, key=key)]
        for found in (shared, alone)
    ]
    assert numbers[0] == numbers[1]
    board = read_board(Registry([plugin]), tiny, tmp_path / "shared").board
    written = (tmp_path / "shared" / "tiny" / "table.md").read_text()
    assert written == board.markdown()
    left = [path for path in (tmp_path / "shared" / "tiny").rglob(".*") if path.name != ".locks"]
    assert left == []


ELSEWHERE = [
    {"protocol": "../../elsewhere"},
    {"protocol": "/elsewhere"},
    {"table": "../../../elsewhere"},
    {"table": "."},
    {"recipe": "../../../../elsewhere"},
    {"recipe": ".."},
    {"recipe": "/elsewhere"},
]


@pytest.mark.parametrize("changes", ELSEWHERE, ids=str)
def test_no_record_leads_out_of_its_folder(tmp_path, changes):
    place = path_of(tmp_path / "theirs", "tiny", RECORD.recipe, RECORD.seed)
    write(tmp_path / "theirs", RECORD, PREDICTIONS)
    evil = structs.replace(RECORD, **changes)
    evil = structs.replace(evil, digest=evil.computed_digest())
    place.write_bytes(msgspec.json.encode(evil))
    found = list(read_all(tmp_path / "theirs", "tiny"))
    assert [type(record) for record in found] == [Rejected]
    before = contents(tmp_path)
    with pytest.raises(LTBenchError, match="is left in place, not counted"):
        merge([tmp_path / "theirs"], tmp_path / "mine")
    assert contents(tmp_path) == before


def test_a_recipe_is_a_single_folder_whatever_it_is_called(tmp_path):
    for recipe in ("..", ".", "a/../../b", "C:\\b", "a\0b", "a\nb", "x" * 5000, ""):
        path = path_of(tmp_path, "tiny", recipe, 0).parent
        assert path.parent == tmp_path / "tiny" / "records"
        assert path.name not in ("", ".", "..")
        assert len(path.name) <= 255


HOSTILE = "| a | b |\n\n# c <script>alert(1)</script> [d](javascript:e) ![f](g) `h` *i* </td>"


def test_what_others_wrote_is_text_in_a_table():
    row = Row(
        recipe=f"sam(rho='{HOSTILE}')",
        rank=(1, 1),
        seeds=1,
        board_seeds=1,
        missing_seeds=0,
        measures={"accuracy": Mean(0.5, None, None)},
        delta=None,
        delta_p=None,
        delta_adjusted_p=None,
        cost=Cost(1.0, None, None, 1.0, 1.0, 1.0),
        status={"ok": 1},
        transductive=None,
        notes=[HOSTILE],
    )
    board = Leaderboard(
        protocol="tiny",
        version=1,
        hash="0",
        track="recognition",
        description="A small one.",
        asked=["accuracy"],
        measures=[Measure("accuracy")],
        tables=[],
        machines=[HOSTILE],
        cells=1,
        wanted=1,
        seeds=[0],
        resolution=Resolution(0, 0, 0, None, None, None),
        rows=[row],
        reference="erm",
        doing="training",
        unit="plain training",
    )
    told = markdown(board)
    lines = [line for line in told.splitlines() if "script" in line]
    assert len(lines) == 4  # a row in each of two tables, the note, the machine
    for line in lines[:2]:
        ruler = told.splitlines()[told.splitlines().index(line) - 1]
        assert len(re.findall(r"(?<!\\)\|", line)) == ruler.count("|")
        assert re.search(r"\| `` sam\(.*\) `` \\\* +\|", line)  # all of it is code
    for line in lines[2:]:
        text = re.sub(r"``+ .*? ``+", "", line.removeprefix("- "))
        assert not re.search(r"<|>|(?<!\\)[\[\]`*|]", text)
