"""Submitted records come onto a board with what is declared, or are refused with the mend."""

import os
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import METHOD, TINY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from ltbench import LTBenchError, api
from ltbench.boards import submitting
from ltbench.boards.reading import read
from ltbench.boards.submitting import examine, stated, take
from ltbench.commands.main import main
from ltbench.registry.registry import Registry, installed
from ltbench.results import records, submissions, verifications
from ltbench.results.records import Record
from ltbench.results.verifications import Verification
from ltbench.testing.report import Finding, Report

STATED = """
who = "Somebody"
paper = "arXiv:2401.00000"
code = "a folder of theirs"
package = "ltbench-mine"
version = "1.0"

[resources]
extra_data = "none"
pretraining = "none"
teachers = "none"
tuning_trials = 12
"""
BROUGHT = """
    @hookimpl
    def register_protocols(register):
        register(PATH)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A package with a method and a small protocol, and a folder that submits its row."""
    place = tmp_path_factory.mktemp("made")
    site, folder = place / "site", place / "mine"
    (site / "ltbench_mine-1.0.dist-info").mkdir(parents=True)
    (place / "tiny-board.toml").write_text(TINY.replace('"tiny"', '"tiny-board"'))
    source = (METHOD.format(cls="Mine", name="mine") + BROUGHT).replace(
        "PATH", repr(str(place / "tiny-board.toml"))
    )
    (site / "ltbench_mine.py").write_text("\n".join(line[4:] for line in source.split("\n")))
    info = site / "ltbench_mine-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ltbench-mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ltbench]\nmine = ltbench_mine\n")
    sys.path.insert(0, str(site))
    installed.cache_clear()  # another test may have looked before this package was there
    api.run("tiny-board", ["mine"], results=folder, jobs=1)
    api.run("tiny-board", ["erm", "logit-adjustment"], results=place / "boards", jobs=1)
    (folder / submissions.STATED).write_text(STATED)
    yield folder, place / "boards", info
    sys.path.remove(str(site))
    sys.modules.pop("ltbench_mine", None)
    installed.cache_clear()


@pytest.fixture
def submitted(made, tmp_path):
    """A copy of that folder, and of the boards."""
    folder, boards, _ = made
    for one, name in ((folder, "mine"), (boards, "boards")):
        shutil.copytree(one, tmp_path / name)
    return tmp_path / "mine", tmp_path / "boards"


@pytest.fixture
def unchecked(monkeypatch):
    """The shared checks take seconds; whether they are asked is tested elsewhere."""
    passed = Report("mine", [Finding("all", "passed")])
    monkeypatch.setattr(submitting, "checked", lambda recipe, registry: passed)


@pytest.fixture(scope="module")
def registry(made):
    return Registry()


def refusals(folder):
    return examine(Registry(), folder).refusals


def told(folder, **changed):
    """Writes a submission that states something else."""
    text = STATED
    for key, value in changed.items():
        text = "\n".join(
            f"{key} = {value!r}" if line.startswith(f"{key} =") else line
            for line in text.split("\n")
        )
    (folder / submissions.STATED).write_text(text)


def test_a_sound_submission_has_nothing_amiss(submitted):
    folder, _ = submitted
    found = examine(Registry(), folder)
    assert found.refusals == []
    assert {key: len(rows) for key, rows in found.rows.items()} == {("tiny-board", "mine"): 2}


def test_a_method_that_fails_a_check_is_refused(submitted, monkeypatch):
    failing = Report("mine", [Finding("scores", "failed", "they are no scores")])
    monkeypatch.setattr(submitting, "checked", lambda recipe, registry: failing)
    assert refusals(submitted[0]) == [
        "method mine fails the check that scores: they are no scores; mend it, and run again"
    ]


def test_the_command_examines_or_takes(submitted, monkeypatch, unchecked):
    folder, boards = submitted
    monkeypatch.chdir(folder.parent)
    done = CliRunner().invoke(main, ["submit", "mine", "--check", "--results", "boards"])
    assert (done.exit_code, done.stdout) == (
        0,
        "tiny-board: mine, 2 records, nothing amiss\n",
    )
    assert not (boards / "tiny-board/records/mine").exists()
    done = CliRunner().invoke(main, ["submit", "mine", "--results", "boards"])
    assert done.exit_code == 0, done.stderr
    assert "records/mine written" in done.stdout
    for file in (folder / "tiny-board/records/mine").iterdir():
        assert (boards / "tiny-board/records/mine" / file.name).read_bytes() == file.read_bytes()
    again = CliRunner().invoke(main, ["submit", "mine", "--results", "boards"])
    assert again.exit_code == 2
    assert "is there already; its row is not replaced" in again.stderr


def on_board(submitted):
    folder, boards = submitted
    registry = Registry()
    take(folder, examine(registry, folder), boards)
    return read(registry, "tiny-board", boards).board


def test_a_row_within_the_protocol_is_ranked_and_its_resources_are_columns(submitted, unchecked):
    board = on_board(submitted)
    rows = {row.recipe: row for row in board.content.rows}
    assert rows["mine"].rank is not None and not rows["mine"].apart
    first, _, second = board.markdown().partition("\nSubmitted:\n")
    assert "| `mine` " in first
    (line,) = [line for line in second.splitlines() if line.startswith("| ") and "`mine`" in line]
    assert [cell.strip() for cell in line.strip("|").split("|")][4:] == [
        *("none", "none", "none", "12"),
        *("Somebody", "arXiv:2401.00000"),
    ]
    frame = board.frame().set_index("recipe")
    assert frame.loc["mine", "tuning_trials"] == 12
    assert frame.loc["mine", "submitted_by"] == "Somebody"


@pytest.mark.parametrize("key", ["extra_data", "pretraining", "teachers"])
def test_a_row_with_more_than_the_protocol_gives_is_ranked_apart(submitted, key, unchecked):
    told(submitted[0], **{key: "ImageNet"})
    before = read(Registry(), "tiny-board", submitted[1]).board.content
    board = on_board(submitted)
    rows = {row.recipe: row for row in board.content.rows}
    assert rows["mine"].apart and rows["mine"].rank == (1, 1)
    assert {n: rows[n].rank for n in ("erm", "logit-adjustment")} == {
        row.recipe: row.rank for row in before.rows
    }
    first, _, second = board.markdown().partition("\nMade with more than the protocol gives:\n")
    assert "| `mine` " not in first.partition("passes")[0]
    assert "| `mine` " in second and "ImageNet" in second


def test_a_submission_beside_records_that_was_damaged_is_told(submitted, unchecked):
    folder, boards = submitted
    registry = Registry()
    take(folder, examine(registry, folder), boards)
    path = submissions.path_of(boards, "tiny-board", "mine")
    path.write_text(path.read_text().replace("Somebody", ""))
    text = read(registry, "tiny-board", boards).board.markdown()
    assert "submission mine does not count: it is no submission" in text


def mended(path, **changed):
    """A record that tells something else, sealed as if nothing had happened."""
    record = records.read(path)
    assert isinstance(record, Record)
    path.write_bytes(records.encoded(structs.replace(record, **changed).sealed()))


RECORD = "tiny-board/records/mine/seed-0.json"


def gone(folder):
    (folder / RECORD).unlink()
    (folder / RECORD).with_suffix(".npz").unlink()


def linked(folder):
    (folder / "tiny-board/records/mine/seed-7.json").symlink_to("/etc/passwd")


def linked_out(folder):
    shutil.move(folder / "tiny-board", folder.parent / "elsewhere")
    (folder / "tiny-board").symlink_to("../elsewhere")


def other_protocol(folder):
    shutil.move(folder / "tiny-board", folder / "nobody-knows")


def other_package(folder):
    told(folder, package="another")


def taken_name(folder):
    """Records that say that a method of ltbench is theirs."""
    here, there = folder / "tiny-board/records/mine", folder / "tiny-board/records/ldam"
    shutil.move(here, there)
    for path in there.glob("*.json"):
        record = structs.replace(
            records._DECODER.decode(path.read_bytes()), recipe="ldam", parameters={}
        )
        plugins = {"ldam": record.plugins["mine"]}
        path.write_bytes(records.encoded(structs.replace(record, plugins=plugins).sealed()))


def other_code(folder):
    for path in (folder / "tiny-board/records/mine").glob("*.json"):
        origin = records.read(path).plugins["mine"]
        mended(path, plugins={"mine": structs.replace(origin, source="0" * 16)})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (gone, "lacks seed 0; ltbench run tiny-board -m 'mine' --results FOLDER"),
        (linked, "seed-7.json is a symbolic link; put what it leads to in its place"),
        (linked_out, "tiny-board is a symbolic link"),
        (other_protocol, "nobody-knows is no protocol that is known here; take it out"),
        (other_package, "is of package ltbench-mine, and submission.toml names another"),
        (taken_name, "method ldam takes a name of ltbench's own; choose another"),
        (other_code, "2 records were made by other code of its methods than is installed"),
        (lambda f: told(f, version="2.0"), "is installed as version 1.0, and submission.toml says"),
        (lambda f: told(f, tuning_trials=-1), "tuning_trials"),
        (lambda f: told(f, who=""), "who"),
        (lambda f: (f / "submission.toml").unlink(), "submission.toml is not there; it states"),
        (lambda f: (f / "submission.toml").write_text("who ="), "submission.toml is not TOML"),
        (
            lambda f: (f / "submission.toml").write_text(STATED.partition("[")[0]),
            "submission.toml: keys are missing: resources.extra_data, resources.pretraining",
        ),
        (lambda f: (f / "submission.toml").write_bytes(b"\xff\xfe"), "is not TOML"),
        (lambda f: (f / "submission.toml").write_text("#" * 70_000), "has more than 65536 bytes"),
        (lambda f: (f / "run.sh").write_text("x"), "run.sh has no place there"),
        (lambda f: os.mkfifo(f / "tiny-board/records/mine/pipe"), "is no plain file; take it out"),
        (
            lambda f: (f / RECORD).write_text((f / RECORD).read_text().replace("0.", "1.", 1)),
            "does not count: its digest does not fit; it was changed by hand; run its cell again",
        ),
        (
            lambda f: mended(f / RECORD, measures={"balanced_accuracy": 0.99}),
            "its balanced_accuracy is 0.99, but",
        ),
        (lambda f: mended(f / RECORD, hash="0" * 16), "is of hash 0000000000000000, and"),
        (lambda f: mended(f / RECORD, status="failed", reason="x"), "1 cells failed (x); mend"),
        (lambda f: (f / RECORD).with_suffix(".npz").unlink(), "lacks the .npz"),
        (lambda f: shutil.rmtree(f / "tiny-board"), "holds no record of a method of ltbench-mine"),
    ],
)
def test_each_refusal_names_the_mend(submitted, damage, said, unchecked):
    folder, _ = submitted
    damage(folder)
    found = refusals(folder)
    assert any(said in one for one in found), found
    assert all("\n" not in one for one in found)


def test_a_method_that_is_not_here_is_asked_for(submitted, made, monkeypatch):
    _, _, info = made
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(info.parent)])
    (submitted[0] / "tiny-board").rename(submitted[0] / "digits-lt")
    asked = Registry().protocol("digits-lt").hash
    for path in (submitted[0] / "digits-lt/records").glob("*/*.json"):
        mended(path, protocol="digits-lt", hash=asked, measures={}, recall=[], arrays="")
        path.with_suffix(".npz").unlink(missing_ok=True)
    assert (
        "method mine is not here; install ltbench-mine 1.0, or give its file with --plugin"
        in refusals(submitted[0])
    )


def test_an_archive_or_nothing_in_place_of_a_folder_is_refused(submitted, monkeypatch):
    folder, _ = submitted
    monkeypatch.chdir(folder.parent)
    with tarfile.open("mine.tar.gz", "w:gz") as archive:
        archive.add("mine")
    for name, said in (("mine.tar.gz", "is a file; unpack it"), ("nothing", "is not there")):
        done = CliRunner().invoke(main, ["submit", name, "--check"])
        assert done.exit_code == 2
        assert said in done.stderr


often = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damaged(draw, text):
    """Bytes with parts cut out, doubled, or put in the place of others."""
    content = bytearray(text)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = start + draw(st.integers(0, 40))
        kind = draw(st.sampled_from(["drop", "double", "put", "cut"]))
        if kind == "drop":
            del content[start:end]
        elif kind == "double":
            content[start:start] = content[start:end]
        elif kind == "put":
            content[start:end] = draw(st.binary(max_size=8))
        else:
            del content[start:]
    return bytes(content)


PIECES = ["é", "CON", "x" * 200, "mine", "records", "seed-0.json", "seed-9.json", "-", " ", "a\nb"]


@often
@given(st.data())
def test_damaged_submissions_are_refused_in_lines(
    made, unchecked, registry, tmp_path_factory, data
):
    folder, _, _ = made
    place = tmp_path_factory.mktemp("damaged") / "mine"
    shutil.copytree(folder, place)
    files = sorted(p for p in place.rglob("*") if p.is_file() and ".locks" not in p.parts)
    kind = data.draw(st.sampled_from(["content", "name", "gone", "more"]))
    file = data.draw(st.sampled_from(files))
    before = file.read_bytes()
    if kind == "content":
        file.write_bytes(data.draw(damaged(before)))
    elif kind == "name":
        file.rename(file.with_name(data.draw(st.sampled_from(PIECES))))
    elif kind == "gone":
        file.unlink()
    else:
        (place / data.draw(st.sampled_from(["a", "tiny-board/b", "tiny-board/records/c"]))).mkdir()
    found = examine(registry, place)
    for one in found.refusals:
        assert 0 < len(one) < 2500 and "\n" not in one and "Traceback" not in one
    of_the_row = file.parent.name == "mine" and file.suffix in (".json", ".npz")
    if kind == "content" and of_the_row and not found.refusals:
        record = records.read(file.with_suffix(".json"))
        assert record == records.read((folder / file.relative_to(place)).with_suffix(".json"))
        there, whole = (records.arrays_of(one, record) for one in (place, folder))
        assert there.keys() == whole.keys()
        assert all((there[name] == whole[name]).all() for name in whole)
    shutil.rmtree(place.parent)


@often
@given(st.data())
def test_any_bytes_state_a_submission_or_are_refused(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "submission.toml"
    file.write_bytes(data.draw(st.one_of(damaged(STATED.encode()), st.binary(max_size=80))))
    try:
        stated(file)
    except LTBenchError as error:
        assert str(error).startswith("submission.toml")
        assert len(str(error).splitlines()) <= 2


TOLD = Verification(
    protocol="tiny-board",
    recipe="erm",
    seed=0,
    by="ci",
    when="2026-01-01T00:00:00+00:00",
    outcome="same",
    record="0" * 16,
    again="1" * 16,
    environment={"cpu": "one"},
)


@often
@given(st.data())
def test_damaged_verifications_never_count_and_are_told_in_a_line(tmp_path_factory, data):
    results = tmp_path_factory.mktemp("verified")
    sealed = verifications.write(results, TOLD)
    path = verifications.path_of(results, sealed)
    content = path.read_bytes()
    changed = data.draw(damaged(content))
    path.write_bytes(changed)
    ((_, found),) = verifications.read_all(results, "tiny-board")
    if isinstance(found, Verification):
        assert found == sealed  # nothing but space was lost
    else:
        assert 0 < len(found) < 2500 and "\n" not in found
    shutil.rmtree(results)


def test_a_folder_that_a_record_names_never_leads_out(submitted):
    folder, boards = submitted
    for path in (folder / "tiny-board/records/mine").glob("*.json"):
        path.write_bytes(path.read_bytes().replace(b'"mine"', b'"../../mine"'))
    outside = {p for p in Path(folder.parent).rglob("*")}
    with pytest.raises(AssertionError):
        take(folder, examine(Registry(), folder), boards)
    assert {p for p in Path(folder.parent).rglob("*")} == outside
