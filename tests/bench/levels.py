"""Why levels are below published ones: what JPEG costs the official budget, and what the epoch.

    python tests/bench/levels.py FOLDER [NAME ...]

Trains the official ResNet-32 plainly for 200 epochs on a GPU, its steps captured and replayed, on
CIFAR-10's copies as they are and on such as went through JPEG once more (quality 75, colours
halved, on a grid moved by four pixels, so that it loses anew): on all 50,000, and on the tail of
factor 100. Each has a file of its own in FOLDER, with the share of right test rows after every
epoch. Nothing is chosen by them: they tell what choosing would gain.

Rows that fill no batch are left out of an epoch, and algorithms need not repeat their bits. On an
H200 the first 65 epochs on the tail took 70 seconds by themselves.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from msgspec import structs
from PIL import Image

from ltbench import Rows, protocol
from ltbench.protocols.schema import Imbalance
from ltbench.registry.registry import installed
from ltbench.tracks import classification
from ltbench.training.engine import generator, schedule
from ltbench.training.environment import own

TAILED = protocol("cifar10-jpeg-lt-100")
EVERY = structs.replace(
    TAILED, imbalance=Imbalance("exponential", "label", "fixed", n_max=5000, factor=1.0)
)
NAMES = {
    f"{kind}-{passes}-{seed}": (fixed, passes, seed)
    for kind, fixed, seeds in (("every", EVERY, (100,)), ("tail", TAILED, (100, 101)))
    for passes in (0, 1)
    for seed in seeds
}


def again(images):
    """Images [N, 3, 32, 32] of bytes after one more pass through JPEG on another grid."""
    made = np.pad(images.permute(0, 2, 3, 1).numpy(), ((0, 0), (4, 4), (4, 4), (0, 0)), "reflect")
    for k, image in enumerate(made):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        made[k] = np.asarray(Image.open(file))
    return torch.from_numpy(made[:, 4:-4, 4:-4].transpose(0, 3, 1, 2).copy())


def captured(run, images, labels, rate):
    """A step of SGD on a batch, recorded once, and the momentum that it keeps."""
    model, momentum, decay = run.model.train(), run.phase.momentum, run.phase.weight_decay
    weights = list(model.parameters())
    moved = [torch.zeros_like(weight) for weight in weights]

    def step():
        F.cross_entropy(model(images), labels).backward()
        slopes = [weight.grad for weight in weights]
        with torch.no_grad():
            torch._foreach_add_(slopes, weights, alpha=decay)
            torch._foreach_mul_(moved, momentum)
            torch._foreach_add_(moved, slopes)
            torch._foreach_sub_(weights, torch._foreach_mul(moved, rate))
            torch._foreach_zero_(slopes)

    start = {name: value.clone() for name, value in model.state_dict().items()}
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    model.load_state_dict(start)
    torch._foreach_zero_(moved)
    return graph, moved  # what it moves must not be let go before it


@torch.no_grad()
def right(run, test):
    """The share of test rows that are told right, by the statistics of training."""
    run.model.eval()
    told = [
        run.model(run.views.plain(part.inputs)).argmax(dim=1) == part.labels
        for part in (test[torch.arange(k, k + 1000)] for k in range(0, len(test), 1000))
    ]
    run.model.train()
    return float(torch.cat(told).double().mean())


def curve(fixed, passes, seed):
    """What is right after each epoch of a training, as it goes."""
    data = installed().track("recognition").load(installed(), fixed)[""]
    parts = classification.split(fixed, data, seed)
    made = [parts.train, parts.test()]
    for _ in range(passes):
        made = [Rows(again(rows.inputs), rows.labels) for rows in made]
    run = classification.begin(fixed, parts, seed, torch.device("cuda"))
    train, test = (rows.to(run.device) for rows in made)
    size, steps = fixed.budget.batch_size, len(train) // fixed.budget.batch_size
    order, views = generator(run, "order"), generator(run, "views")
    images = run.views.augmented(train.inputs[:size], views)
    labels, rate = train.labels[:size].clone(), torch.zeros((), device=run.device)
    graph, _moved = captured(run, images, labels, rate)
    rates = iter(schedule(run.phase, steps))
    for _ in range(fixed.budget.epochs):
        shown = torch.randperm(len(train), generator=order, device=run.device)[: steps * size]
        seen, told = run.views.augmented(train.inputs[shown], views), train.labels[shown]
        for k in range(0, len(shown), size):
            images.copy_(seen[k : k + size])
            labels.copy_(told[k : k + size])
            rate.fill_(fixed.budget.lr * next(rates))
            graph.replay()
        yield right(run, test)


def told(folder):
    """A table of what the last epoch and the best one have."""
    print("\n| images | passes more | seed | last epoch | best epoch |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in NAMES:
        file = folder / f"{name}.json"
        if file.exists():
            kind, passes, seed = name.split("-")
            found = np.array(json.loads(file.read_text()))
            ends = " | ".join(f"{100 * share:.1f}" for share in (found[-1], found.max()))
            print(f"| {kind} | {passes} | {seed} | {ends} |")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NAMES:
        file = folder / f"{name}.json"
        if not file.exists():
            found = []
            with own(1, NAMES[name][2]):
                torch.backends.cudnn.deterministic = False
                torch.backends.cudnn.benchmark = True
                for share in curve(*NAMES[name]):
                    found.append(share)
                    print(f"{name}, epoch {len(found)}: {100 * share:.1f}", flush=True)
            file.write_text(json.dumps(found))
    told(folder)


if __name__ == "__main__":
    main()
