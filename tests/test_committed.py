"""What is committed of leaderboards follows from their records."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "leaderboards"
BOARDS = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())


@pytest.mark.parametrize("name", BOARDS)
def test_a_table_follows_from_its_records(ltbench, name):
    made = ltbench("leaderboard", name, "--results", FOLDER)
    assert made.exit_code == 0, made.output
    assert made.output == (FOLDER / name / "table.md").read_text()


def test_the_readme_shows_the_board_of_the_demo():
    lines = (FOLDER / "digits-lt" / "table.md").read_text().split("\n\n")
    rows = next(part for part in lines if part.startswith("|")).splitlines()
    shown = (ROOT / "README.md").read_text().splitlines()
    assert len(rows) > 10
    assert [row for row in rows if row not in shown] == []
