"""A skip holds for every seed, or counts as a failure."""

from ltbench.api import run
from ltbench.results.records import Record, read_all

PICKY = """
from ltbench import Method, Unmet, hookimpl


class Picky(Method):
    name = "picky"

    def resample(self, train, run):
        if run.seed in {seeds}:
            raise Unmet("this seed does not suit me")
        return train


@hookimpl
def register_methods(register):
    register(Picky)
"""


def statuses(tiny, tmp_path, seeds, **more):
    (tmp_path / "picky.py").write_text(PICKY.format(seeds=seeds))
    made = run(tiny, ["picky"], 3, plugins=[tmp_path / "picky.py"], results=tmp_path / "r", **more)
    return {record.seed: record.status for record in made if record.recipe == "picky"}


def test_a_skip_of_some_seeds_alone_is_a_failure(tiny, tmp_path):
    for jobs in (1, 2):
        told = statuses(tiny, tmp_path, (0, 2), jobs=jobs, fresh=True)
        assert told == {0: "failed", 1: "ok", 2: "failed"}
    written = [one for one in read_all(tmp_path / "r", "tiny") if isinstance(one, Record)]
    (reason,) = {one.reason for one in written if one.status == "failed"}
    assert reason == (
        "skipped with this seed, but not with others, which counts as a failure: "
        "this seed does not suit me"
    )


def test_a_skip_of_an_earlier_run_is_one_once_another_seed_has_run(tiny, tmp_path):
    (tmp_path / "picky.py").write_text(PICKY.format(seeds=(0,)))
    first = run(tiny, ["picky"], 1, plugins=[tmp_path / "picky.py"], results=tmp_path / "r")
    assert [one.status for one in first if one.recipe == "picky"] == ["skipped"]
    assert statuses(tiny, tmp_path, (0,)) == {0: "failed", 1: "ok", 2: "ok"}


def test_a_skip_of_all_seeds_stays_one(tiny, tmp_path):
    assert statuses(tiny, tmp_path, (0, 1, 2)) == dict.fromkeys(range(3), "skipped")


def test_the_command_ends_as_where_cells_failed(tiny, tmp_path, ltbench):
    (tmp_path / "picky.py").write_text(PICKY.format(seeds=(1,)))
    done = ltbench("run", tiny, "-m", "picky", "--plugin", "picky.py", "--jobs", 1)
    assert done.exit_code == 1
    assert "1 failed" in done.stderr
