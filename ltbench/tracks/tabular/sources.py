"""Where tables are found, without reading any: what scikit-learn ships, and the data folder."""

from ltbench.datasets import data_folder
from ltbench.tracks.tabular import keel

SHIPPED = ("breast-cancer", "diabetes", "digits", "iris", "wine")
ENDINGS = (".parquet", ".csv")


def in_data_folder() -> list[str]:
    """The sources that stand in the data folder as tables."""
    folder = data_folder() / "tabular"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [f"tabular/{file.stem}" for file in files if file.suffix in ENDINGS]


def known() -> list[str]:
    """The sources that can be read without asking for them elsewhere."""
    shipped = (f"scikit-learn/{name}" for name in SHIPPED)
    return [*dict.fromkeys(in_data_folder()), *shipped, *keel.names()]
