"""Records of a small protocol, made up, for tests of what is shown of a board."""

import numpy as np

from ltbench import protocol
from ltbench.results.records import Origin, Record, Timing, write

COUNTS = [30, 20, 14, 9, 6, 5, 4, 3, 3, 2]
HOSTILE = (
    "<script>alert('x')</script>\"&amp; \u202eright-to-left\u202c `*[a](b)*` "
    "$\\sum_{x}^2$ \\input{/etc/passwd} 100 % #1 ~a~ |b| --- {x}" + "w" * 400
)
RECIPES = {"erm": 0.60, "logit-adjustment": 0.68, "ldam+drw": 0.66, "focal": 0.59}


def records(given, recipes=RECIPES, seeds=5, notes=(), noise=0.01):
    """A record for each recipe and seed, all of which share what a seed is like."""
    chance = np.random.default_rng(0)
    of_seed = chance.normal(0, 0.03, seeds)
    for place, (recipe, level) in enumerate(recipes.items()):
        for seed in range(seeds):
            score = float(level + of_seed[seed] + chance.normal(0, noise))
            drop = np.linspace(0.2, -0.2, len(COUNTS))
            recall = np.clip(score + drop, 0, 1).round(4).tolist()
            yield Record(
                protocol=given.name,
                version=given.version,
                hash=given.hash,
                track=given.track,
                fingerprint=given.data.fingerprint,
                recipe=recipe,
                parameters={name: {} for name in ("erm", "ldam", "drw") if name in recipe},
                plugins={recipe: Origin("ltbench", "0.1.0", "aaaa")},
                seed=seed,
                status="ok",
                notes=list(notes) if place == 1 else [],
                environment={"cpu": "a processor", "threads": 1, "torch": "2"},
                measures={"balanced_accuracy": score, "accuracy": score, "few": score / 2},
                recall=recall,
                class_counts=COUNTS,
                timing=Timing(2.0, 2.0, 2.0, 1.0 + 0.1 * place, 1.0, 5.0),
            )


def fill(path, results, **more):
    """Writes the records of the protocol of a file; gives the protocol."""
    given = protocol(path)
    for record in records(given, **more):
        write(results, record, None)
    return given
