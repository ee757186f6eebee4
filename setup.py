"""Builds ltbench; a wheel takes the published boards along, each as one archive of its records."""

import io
import tarfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BOARDS = Path(__file__).parent / "leaderboards"


class WithBoards(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # the boards stand in the clone
            return
        place = Path(self.build_lib) / "ltbench" / "boards" / "shipped"
        for board in sorted(path.parent for path in BOARDS.glob("*/table.md")):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{board.name}.tar.xz").write_bytes(archive(board))


def archive(board):
    """The records of a board, and those of its tuning, without the arrays beside them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz", format=tarfile.PAX_FORMAT) as content:
        for path in sorted(board.rglob("*.json")):
            told = tarfile.TarInfo(path.relative_to(BOARDS).as_posix())
            told.size, told.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                content.addfile(told, file)
    return packed.getvalue()


setup(cmdclass={"build_py": WithBoards})
