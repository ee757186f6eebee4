"""The checks of methods that act between clients find what they are for, and pass what is right."""

from typing import ClassVar

import pytest
import torch

from ltbench import LTBenchError
from ltbench.testing import check_method
from ltbench.tracks.federated import checks
from ltbench.tracks.federated.contract import Federating, averaged

# methods alone are checked with all others that are built in
SOUND = (
    "global-balanced-softmax+prior-shift",
    "fedprox+balanced-softmax",
    "fedetf(turns=1, epochs=1)+trimmed-mean",
    "fedloge+mixup",
)


@pytest.mark.parametrize("text", SOUND)
def test_what_is_shipped_passes(text):
    report = check_method(text)
    assert report.passed, str(report)


class Between(Federating):
    name = "between"
    needs = frozenset({"clients"})


def failed(method, thorough=False):
    found = check_method(method, thorough=thorough).findings
    return {finding.check: finding.text for finding in found if finding.status == "failed"}


class Sending(Between):
    """Sends a row as it is."""

    def report(self, model, rows, run):
        return {"example": rows.inputs[0]}


def test_a_row_that_is_sent_is_found():
    told = failed(Sending())["rows stay with their clients"]
    assert "one stands in what clients send as example" in told


class Pooling(Between):
    """Keeps rows where every copy of it reads them."""

    pool: ClassVar = {}

    def enter(self, train, run):
        self.pool[run.granted.client] = train
        return self.pool[min(self.pool)]


def test_rows_that_reach_another_client_are_found():
    told = failed(Pooling())["rows stay with their clients"]
    assert "those of client 0 reached client" in told


class Rare(Between):
    """Divides by the rows of a class, of which a client may have none."""

    def weight(self, labels, run):
        return (run.exact_counts.sum() / run.exact_counts).mean().expand(len(labels))


def test_a_class_without_rows_that_is_divided_by_is_found():
    told = failed(Rare())["a client may lack classes"]
    assert "a class may have no rows on a client" in told


class Present(Between):
    """Thinks that whoever is asked has trained."""

    def report(self, model, rows, run):
        self.seen = len(rows)

    def personal(self, model, rows, run):
        assert self.seen
        return model


def test_a_client_that_was_never_chosen_and_is_asked_is_found():
    assert "no attribute 'seen'" in failed(Present())["a client may sit out"]


class Refusing(Between):
    """Says in a sentence what it cannot do."""

    def aggregate(self, updates, run):
        if len(updates) < 2:
            raise LTBenchError("two clients are the least")
        return averaged(updates)


def test_a_refusal_in_a_sentence_passes():
    assert not failed(Refusing())


class Peeking(Between):
    """Has the labels of test rows from somewhere."""

    labels = ()

    def decide(self, scores, run):
        if len(scores) == len(type(self).labels):
            return type(self).labels.clamp(max=scores.shape[1] - 1)
        return scores.argmax(dim=1)


def test_false_labels_of_test_rows_change_what_somebody_decides_who_has_them(monkeypatch):
    plain = checks.run

    def watched(protocol, recipe, seed, dataset, device):
        Peeking.labels = dataset.test.labels if dataset.test is not None else ()
        return plain(protocol, recipe, seed, dataset, device)

    monkeypatch.setattr(checks, "run", watched)
    told = failed(Peeking(), thorough=True)["decoys change nothing"]
    assert "changed with the order and the labels" in told


def test_marks_of_clients_are_told_apart():
    rows = torch.full((2, 3), checks.MARKED)
    rows[1] += 2
    assert checks.owners_in(rows) == {0, 2} and not checks.owners_in(torch.arange(40.0))


def test_a_recipe_without_clients_is_checked_by_recognition():
    names = {finding.check for finding in check_method("erm").findings}
    assert "rows stay with their clients" not in names
    assert "rows stay with their clients" in {f.check for f in check_method("krum").findings}
