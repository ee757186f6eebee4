"""Why levels are below published ones: what JPEG costs the official budget, and what the epoch.

    python tests/bench/levels.py FOLDER [NAME ...]

Trains the official ResNet-32 for its 200 epochs on the tail of factor 100. A NAME is
RECIPE-SIZE-PASSES-SEED: a recipe; 32 for CIFAR-10's copies as they are, 16 for every four pixels
made one; how often images, of tests too, then go through JPEG (quality 75, colours halved); a seed
that no board uses. Exact files are not at hand, but halving takes out most of what JPEG had put in,
so those of 16 pixels show about what a first pass costs. Each further one is on a grid moved by
four pixels, so that it loses anew.

Each NAME has a file in FOLDER: the share of right test rows after every tenth epoch and after each
of the last forty; levels.csv has all of them. Nothing is chosen by them; they tell what choosing
would gain. What a pass changes is told in decibels, on copies and on ImageNet's exact photographs.
A training on images of 16 pixels took two hours of a core that had other work besides.
"""

import io
import json
import os
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from msgspec import structs
from PIL import Image

from ltbench import Rows, protocol
from ltbench.datasets.parquet import images_of
from ltbench.registry.registry import installed
from ltbench.tracks import classification
from ltbench.training.engine import train
from ltbench.training.environment import own

OFFICIAL = protocol("cifar10-jpeg-lt-100")
TAILED = structs.replace(
    OFFICIAL, compute=structs.replace(OFFICIAL.compute, memory_format="channels_last")
)
NAMES = [f"{recipe}-16-{passes}-100" for recipe in ("erm", "ldam+drw") for passes in (0, 1)]
LAST = 40


def halved(images):
    """Images [N, 3, H, W] of bytes with the mean of every four pixels as one."""
    return F.avg_pool2d(images.float(), 2).round().to(torch.uint8)


def compressed(images, moved=0):
    """Images [N, 3, H, W] of bytes after JPEG, on a grid moved by so many pixels."""
    around = ((0, 0), (moved, moved), (moved, moved), (0, 0))
    made = np.pad(images.permute(0, 2, 3, 1).numpy(), around, "reflect")
    for k, image in enumerate(made):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        made[k] = np.asarray(Image.open(file))
    ends = slice(moved, made.shape[1] - moved)
    return torch.from_numpy(made[:, ends, ends].transpose(0, 3, 1, 2).copy())


def shown(images, size, passes):
    """Images [N, 3, 32, 32] of copies as a training is shown them."""
    if size == 16:
        images = halved(images)
    for k in range(passes):
        images = compressed(images, 0 if size == 16 and k == 0 else 4)
    return images


def curve(name):
    """By epoch the share of test rows that are told right."""
    recipe, size, passes, seed = name.rsplit("-", 3)
    size, passes, seed = int(size), int(passes), int(seed)
    data = installed().track("recognition").load(installed(), TAILED)[""]
    parts = classification.split(TAILED, data, seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_rows, test = (
        Rows(shown(rows.inputs, size, passes), rows.labels).to(device)
        for rows in (parts.train, parts.test())
    )
    run = classification.begin(TAILED, parts, seed, device)
    run.views = replace(run.views, padding=size // 8)
    epochs, found = count(1), {}

    def ended(_):
        epoch = next(epochs)
        if epoch % 10 == 0 or epoch > TAILED.budget.epochs - LAST:
            told = run.scores(test.inputs).argmax(dim=1) == test.labels
            found[epoch] = float(told.double().mean())
            print(f"{name}, epoch {epoch}: {100 * found[epoch]:.1f}", flush=True)

    train(installed().recipe(recipe), train_rows, run, TAILED.budget.batch_size, checkpoint=ended)
    return found


def decibels(images, others):
    """The peak signal-to-noise ratio of bytes to others, over all images."""
    return float(10 * torch.log10(255**2 / (images.float() - others.float()).square().mean()))


def losses():
    """What a pass changes, as a table: decibels, the fewer the more is lost."""
    folder = Path(os.environ["LTBENCH_DATA"])
    exact = images_of(folder / "imagenet-sample-32" / "train.parquet")
    copies = images_of(folder / "cifar10-jpeg" / "test.parquet")
    once = compressed(exact)
    small, small_copies = halved(exact), halved(copies)
    print("\n| images | after | decibels |\n| --- | --- | ---: |")
    for images, after, ratio in (
        ("photographs, 32", "a first pass", decibels(exact, once)),
        ("photographs, 32", "a second pass", decibels(once, compressed(once, 4))),
        ("copies, 32", "a second pass", decibels(copies, compressed(copies, 4))),
        ("photographs, 16", "a first pass", decibels(small, compressed(small))),
        ("copies, 16", "a first pass", decibels(small_copies, compressed(small_copies))),
        ("photographs, 16", "a pass at 32", decibels(small, halved(once))),
    ):
        print(f"| {images} | {after} | {ratio:.1f} |")


def table(folder):
    """What the last epoch has, and the best of those that were scored; all of them in a file."""
    print("\n| training | last epoch | best epoch |\n| --- | ---: | ---: |")
    lines = ["training,epoch,right"]
    for file in sorted(folder.glob("*.json")):
        found = json.loads(file.read_text())
        lines += [f"{file.stem},{epoch},{right:.4f}" for epoch, right in found.items()]
        *_, last = found.values()
        print(f"| {file.stem} | {100 * last:.2f} | {100 * max(found.values()):.2f} |")
    (folder / "levels.csv").write_text("\n".join([*lines, ""]))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    losses()
    for name in sys.argv[2:] or NAMES:
        file = folder / f"{name}.json"
        if not file.exists():
            with own(TAILED.compute.threads, 0):
                found = curve(name)
            file.write_text(json.dumps(found))
    table(folder)


if __name__ == "__main__":
    main()
