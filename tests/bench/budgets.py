"""Which budget brings back the order of the literature: gain over plain training against epochs.

    python tests/bench/budgets.py FOLDER [DEVICE]

Trains on CIFAR-10's copies what FOLDER holds no record of, on a seed that no board uses, and writes
there budgets.csv and budgets.svg. Records count wherever they were made. On one core of a processor
it is a day's work, on a GPU minutes.
"""

import sys
from pathlib import Path

import matplotlib
import pandas as pd

import ltbench

SEED = 100
RECIPES = (
    *("erm", "ldam+drw", "balanced-softmax", "posthoc-logit-adjustment", "crt", "tau-norm"),
    "mixup",
)
EPOCHS = {"c20": (10, 20, 40, 60), "s20": (30, 60)}
NAMED = {"c20": "cosine", "s20": "steps"}
HEADS = {
    "c20": 'base = "cifar10-jpeg-lt-100-short"\n[budget]\nwarmup = 0.1\nepochs = {}\n',
    "s20": 'base = "cifar10-jpeg-lt-100"\n[compute]\nprecision = "bfloat16"\n'
    "[budget]\nwarmup = 0.05\nepochs = {}\n",
}
REST = 'name = "{}"\nversion = 1\ndescription = "ResNet-20, {} epochs."\n'


def measured(folder: Path, device: str) -> pd.DataFrame:
    """Balanced accuracy and what it gains over plain training, in points, of each budget."""
    told = []
    for schedule, lengths in EPOCHS.items():
        for epochs in lengths:
            name = f"{schedule}-{epochs}"
            file = folder / f"{name}.toml"
            base, *tables = HEADS[schedule].format(epochs).splitlines(keepends=True)
            network = "[network]\nname = 'resnet'\ndepth = 20\n"
            file.write_text(base + REST.format(name, epochs) + "".join(tables) + network)
            records = ltbench.run(file, RECIPES, [SEED], device=device, results=folder, mixed=True)
            told += [
                (NAMED[schedule], epochs, one.recipe, one.measures["balanced_accuracy"])
                for one in records
            ]
    found = pd.DataFrame(told, columns=["schedule", "epochs", "recipe", "balanced accuracy"])
    found["balanced accuracy"] *= 100
    plain = found[found.recipe == "erm"].set_index(["schedule", "epochs"])["balanced accuracy"]
    found["over erm"] = (
        found["balanced accuracy"]
        - found.join(plain.rename("plain"), on=["schedule", "epochs"])["plain"]
    )
    return found.round(2)


def drawn(found: pd.DataFrame, file: Path) -> None:
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "budgets"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4), layout="constrained")
    for recipe, rows in found[found.recipe != "erm"].groupby("recipe", sort=False):
        cosine, steps = (rows[rows.schedule == one] for one in NAMED.values())
        (line,) = axes.plot(cosine.epochs, cosine["over erm"], marker="o", label=recipe)
        axes.plot(steps.epochs, steps["over erm"], "x", color=line.get_color())
    axes.axhline(0, color="grey", linewidth=1)
    axes.set_xticks(sorted(set(found.epochs)))
    axes.set_xlabel("epochs (crosses: learning rate in steps, as at 200 epochs)")
    axes.set_ylabel("balanced accuracy over plain training, points")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/budgets")
    folder.mkdir(parents=True, exist_ok=True)
    found = measured(folder, sys.argv[2] if len(sys.argv) > 2 else "cpu")
    found.to_csv(folder / "budgets.csv", index=False)
    drawn(found, folder / "budgets.svg")


if __name__ == "__main__":
    main()
