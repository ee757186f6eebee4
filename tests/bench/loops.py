"""Two ways to train ResNet-32 on 32x32 images, each a program that tells its images a second.

    python loops.py usual FOLDER NAME threads=1
    python loops.py ours FOLDER NAME threads=1 precision=bfloat16 memory_format=channels_last

Without `threads` they are left at torch's default, as most programs do. A program makes the file
FOLDER/NAME.ready once it is warm, and begins to count when FOLDER/go is there, so that several can
be timed side by side. The images are noise: what they show costs nothing.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

GIVEN = dict(word.split("=") for word in sys.argv[4:])
THREADS = int(GIVEN.get("threads", "0"))
BATCH, WARM = 128, 2
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def noise(rows):
    chance = np.random.default_rng(0)
    labels = np.arange(rows) % 10
    return chance.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8), labels


class Images(Dataset):
    """As torchvision's CIFAR10 keeps and gives them."""

    def __init__(self, rows, transform):
        self.data, labels = noise(rows)
        self.targets, self.transform = labels.tolist(), transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def network():
    from ltbench.models import build

    torch.manual_seed(0)
    return build("resnet", (3, 32, 32), 10, {"depth": 32})


def usual(steps, begin):
    """What most code of papers does: PIL transforms, a DataLoader, `.item()` at each step."""
    change = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = DataLoader(Images((WARM + steps) * BATCH, change), batch_size=BATCH, shuffle=True)
    model, criterion = network().train(), nn.CrossEntropyLoss()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # as in the code of LDAM-DRW and of most papers
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-4)
    losses = right = 0.0
    for step, (images, labels) in enumerate(loader):
        if step == WARM:
            begin()
        scores = model(images)
        loss = criterion(scores, labels)
        losses += loss.item()
        right += (scores.argmax(dim=1) == labels).float().mean().item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def ours(steps, begin):
    """A cell of erm in a process of its own, as `ltbench run` makes it."""
    from ltbench.running.processes import Limits, Worker

    worker = Worker(lambda: _ours(steps, begin), Limits())
    print(worker.answer.recv())
    worker.kill()
    sys.exit()


def _ours(steps, begin):
    from msgspec import structs

    from ltbench import Rows, protocol
    from ltbench.api import recipe
    from ltbench.protocols.schema import Compute
    from ltbench.tracks import classification
    from ltbench.training import engine
    from ltbench.training.environment import own

    chosen = {key: GIVEN[key] for key in ("precision", "memory_format") if key in GIVEN}
    compute = Compute(threads=THREADS or torch.get_num_threads(), **chosen)
    cifar = structs.replace(protocol("cifar10-lt-100"), compute=compute)
    images, labels = noise((WARM + steps) * BATCH)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    rows = Rows(pixels, torch.from_numpy(labels))
    parts = classification.Parts(rows, None, lambda: rows, [len(rows) // 10] * 10)
    with own(compute.threads, 0):
        for part in (slice(WARM * BATCH), slice(WARM * BATCH, None)):
            run = classification.begin(cifar, parts, 0, torch.device("cpu"))
            run.phase = replace(run.phase, epochs=1)
            if part.start:
                begin()
            engine.train(recipe("erm"), Rows(pixels[part], rows.labels[part]), run, BATCH)
    return told(steps)


STARTED = [0.0]


def told(steps):
    return f"{steps * BATCH / (time.perf_counter() - STARTED[0]):.1f}"


def main():
    way, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    steps = int(GIVEN.get("steps", "6"))
    if THREADS:
        torch.set_num_threads(THREADS)

    def begin():
        (folder / f"{name}.ready").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        STARTED[0] = time.perf_counter()

    {"usual": usual, "ours": ours}[way](steps, begin)
    print(told(steps))


if __name__ == "__main__":
    main()
