"""How many test rows stand a track's own attacks, and how many stand AutoAttack.

python tests/bench/autoattack.py digits-robust pgd-at robal --seed 0

AutoAttack (arXiv:2003.01690, its standard version) is no dependency: pip install pyautoattack.
"""

import argparse
import sys

import torch
from torch import nn

from ltbench import protocol, recipe
from ltbench.contract.context import PREDICTED_AT_ONCE
from ltbench.registry.registry import installed
from ltbench.tracks.classification import load
from ltbench.tracks.robust import track
from ltbench.tracks.robust.scores import under_attack
from ltbench.training.engine import forward, predict, train

CPU = torch.device("cpu")


class Deciding(nn.Module):
    """The scores that decide, of pixels in [0, 1]."""

    def __init__(self, method, model, run):
        super().__init__()
        self.method, self.model, self.run = method, model, run

    def forward(self, pixels):
        output = forward(self.model, self.run.plain(pixels), self.run)
        return self.method.scores(self.method.combine(output, self.run), self.run)


def standing(asked, text, seed, dataset, auto):
    """Of one cell's test rows: which stand the track's attacks, and which AutoAttack [N] each."""
    parts, method = track.split(asked, dataset, seed), recipe(text)
    run = track.begin(asked, parts, seed, CPU)
    model = train(method, parts.train, run, asked.budget.batch_size)
    test = track.tested(asked, parts.test(), len(parts.class_counts))
    inputs, labels = test.inputs, test.labels
    decided = predict(method, model, inputs, run)[1]
    own = under_attack(method, model, inputs, labels, asked.threat.eps, run)[1]
    own &= decided == labels
    deciding = Deciding(method, model, run)
    pixels = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
    attack = auto(deciding, norm="Linf", eps=asked.threat.eps, seed=seed, device=CPU)
    found = attack.run_standard_evaluation(pixels, labels, batch_size=PREDICTED_AT_ONCE)
    moved = found[0] if isinstance(found, tuple) else found
    assert (moved - pixels).abs().max() <= asked.threat.eps + 1e-6
    with torch.no_grad():
        other = (deciding(moved).argmax(1) == labels) & (decided == labels)
    return own, other


def main():
    reading = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reading.add_argument("protocol")
    reading.add_argument("recipes", nargs="+")
    reading.add_argument("--seed", type=int, default=0)
    given = reading.parse_args()
    try:
        from pyautoattack import AutoAttack
    except ImportError:
        sys.exit("AutoAttack is not installed; pip install pyautoattack brings it")
    torch.set_num_threads(1)
    asked = protocol(given.protocol)
    (dataset,) = load(installed(), asked).values()
    for text in given.recipes:
        own, other = standing(asked, text, given.seed, dataset, AutoAttack)
        print(
            f"{text}: {100 * own.float().mean():.1f} % stand the track's attacks, "
            f"{100 * other.float().mean():.1f} % AutoAttack, "
            f"{100 * (own & other).float().mean():.1f} % both",
            flush=True,
        )


if __name__ == "__main__":
    main()
