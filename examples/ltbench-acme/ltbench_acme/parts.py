"""Parts of problems: a network, a learner of tables, a metric and a table."""

from ltbench import Measure, hookimpl

LTBENCH_INTERFACE = "1.0"


@hookimpl
def register_networks(register):
    from ltbench_acme.network import Options, Rings

    register("rings", Rings, Options)


@hookimpl
def register_learners(register):
    from sklearn.naive_bayes import GaussianNB

    register("naive-bayes", GaussianNB, var_smoothing=1e-6)


@hookimpl
def register_metrics(register):
    measure = Measure("kappa", "kappa", "*kappa*: Cohen's, agreement beyond chance", chosen=True)
    register("recognition", measure, kappa)


@hookimpl
def register_datasets(register):
    register("acme/visits", visits)


def kappa(labels, predicted, num_classes):
    """Cohen's kappa (1960): how far decisions agree with labels beyond chance."""
    import numpy as np

    pairs = np.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    table = pairs.reshape(num_classes, num_classes) / len(labels)
    chance = table.sum(0) @ table.sum(1)
    return None if chance == 1 else (np.trace(table) - chance) / (1 - chance)


def visits():
    """A made-up table: who of 400 visitors came again, which one in ten did."""
    import numpy as np
    import pandas as pd

    chance = np.random.default_rng(0)
    again = np.arange(400) % 10 == 0
    return pd.DataFrame(
        {
            "minutes": chance.normal(20 + 15 * again, 10).round(1),
            "pages": chance.poisson(3 + 2 * again),
            "came": np.where(chance.random(400) < 0.5 + 0.3 * again, "by link", "by search"),
            "again": np.where(again, "yes", "no"),
        }
    )
