"""The checks of methods of incremental learning find what they are for, and pass what is right."""

import pytest
import torch

from ltbench import Method
from ltbench.testing import check_method
from ltbench.tracks.incremental import checks
from ltbench.tracks.incremental.contract import ClassIncremental, past_of

# methods alone are checked with all others that are built in
SOUND = (
    "finetune(scores='new')",
    "icarl+balanced-softmax",
    "icarl(nearest_mean=False)+lws",
    "wa+crt+mixup",
    "acil+balanced-softmax",
    "joint+ldam+drw",
)


@pytest.mark.parametrize("text", SOUND)
def test_what_is_shipped_passes(text):
    report = check_method(text)
    assert report.passed, str(report)


class Late(ClassIncremental):
    name = "late"
    needs = frozenset({"past"})


def failed(method, thorough=False):
    found = check_method(method, thorough=thorough).findings
    return {finding.check: finding.text for finding in found if finding.status == "failed"}


class Hoarding(Late):
    """Keeps rows beside memory, and trains on them again."""

    def __init__(self):
        self.rows = []

    def resample(self, train, run):
        past, kept = past_of(run), self.rows
        self.rows = [*kept, train]
        if past is None or not kept:
            return train
        every = [*kept, train]
        inputs = torch.cat([rows.inputs for rows in every])
        return type(train)(inputs, torch.cat([rows.labels for rows in every]))


def test_rows_that_come_again_are_found():
    told = failed(Hoarding())["rows that are gone stay gone"]
    assert "what is not remembered is gone" in told


class Meddling(Late):
    """Learns in the earlier network too."""

    def enter(self, train, run):
        if past_of(run) is not None:
            past_of(run).model.head.weight.mul_(2)
        return train


def test_a_changed_earlier_network_is_found():
    told = " ".join(failed(Meddling()).values())
    assert "changed the network of task 1" in told


class Dividing(Late):
    """Divides by the rows of old classes."""

    def weight(self, labels, run):
        past = past_of(run)
        if past is None:
            return None
        return (run.exact_counts / run.exact_counts[: past.old].sum())[labels]


def test_a_division_by_rows_of_old_classes_is_found():
    assert "an old class may have no rows" in failed(Dividing())["no memory is handled"]


class Single(Late):
    """Is sure that there is a past."""

    def extra(self, output, batch, run):
        past = run.granted.past
        return 0.0 * output.features.sum() if past.old else None


def test_a_method_that_is_sure_of_a_past_is_found():
    assert failed(Single())


class Peeking(Late):
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


def test_a_recipe_without_a_past_is_checked_by_recognition():
    names = {finding.check for finding in check_method("erm").findings}
    assert "rows that are gone stay gone" not in names
    assert "rows that are gone stay gone" in {f.check for f in check_method("icarl").findings}
    assert issubclass(ClassIncremental, Method)
