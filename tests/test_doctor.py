import json

from ltbench.registry.registry import installed


def test_doctor_examines_machine_data_and_plugins(ltbench, tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "tabular").mkdir(parents=True)
    (tmp_path / "data" / "tabular" / "good.csv").write_text("x,target\n1,a\n2,b\n")
    (tmp_path / "data" / "tabular" / "torn.parquet").write_bytes(b"PAR1")
    (tmp_path / "data" / "pictures").mkdir()
    (tmp_path / "data" / "pictures" / "train.txt").write_text("nowhere")
    done = ltbench("doctor")
    assert done.exit_code == 1, done.output
    amiss = "data pictures; data tabular/torn"
    assert done.stdout.splitlines()[-1] == f"2 problems: {amiss}"
    for words in ("cores to use", "free at", "scikit-learn/wine", "tabular/good", "left out"):
        assert words in done.stdout
    found = json.loads(ltbench("doctor", "--json").stdout)
    assert found["problems"] == amiss.split("; ")
    assert found["extras"]["torchvision"] != "not installed"
    assert len(found["data tabular/good"]["fingerprint"]) == 16
    assert "cannot be read as a table" in found["data tabular/torn"]["cannot be read"]
    assert "expected a path and a label" in found["data pictures"]["cannot be read"]
    assert found["plugins"] == {"methods": len(installed().methods()), "left out": []}


def test_doctor_ends_well_where_nothing_is_amiss(ltbench, tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    done = ltbench("doctor")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "no problems")


def test_doctor_counts_a_plugin_that_is_left_out(ltbench, tmp_path, monkeypatch, install):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    install("broken", "1 / 0")
    done = ltbench("doctor")
    assert done.exit_code == 1
    assert "1 problem: plugin 'broken' of broken left out" in done.stdout
