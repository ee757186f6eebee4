"""The checks of methods that tell domains apart find what they are for, and pass what is right."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from ltbench import Method, Rows
from ltbench.testing import check_method
from ltbench.tracks.domains import checks
from ltbench.tracks.domains.contract import groups_in, groups_of

# methods alone are checked with all others that are built in
SOUND = (
    "groupdro(over='cells')+rwg",
    "boda+domain-resampling+domain-crt",
)


@pytest.mark.parametrize("text", SOUND)
def test_what_is_shipped_passes(text):
    report = check_method(text)
    assert report.passed, str(report)


class Grouped(Method):
    name = "grouped"
    needs = frozenset({"groups"})


def failed(method, thorough=False):
    found = check_method(method, thorough=thorough).findings
    return {finding.check: finding.text for finding in found if finding.status == "failed"}


class Numbered(Grouped):
    """Takes the number of a domain for a quantity."""

    def adjust(self, scores, labels, run):
        return scores + groups_of(run, labels)[:, None] * torch.arange(scores.shape[1])


def test_a_domains_number_that_counts_is_found():
    assert "a domain's number must not count" in failed(Numbered())["domain numbers do not matter"]


class Astray(Grouped):
    """Shuffles rows and leaves their groups where they were."""

    def resample(self, train, run):
        order = torch.randperm(len(train), generator=run.rng)
        return replace(train[order], groups=train.groups)


def test_rows_whose_domains_went_astray_are_found():
    assert "some have another" in failed(Astray())["held out rows stay out"]


class Ungrouped(Grouped):
    """Makes new rows and forgets their groups."""

    def resample(self, train, run):
        return Rows(train.inputs.clone(), train.labels)


def test_rows_without_their_domains_are_refused_in_a_sentence():
    told = failed(Ungrouped())["held out rows stay out"]
    assert "resampled rows come without groups" in told


class Pairs(Grouped):
    """Divides by the number of pairs of domains in the batch."""

    def extra(self, output, batch, run):
        there = len(groups_in(batch).unique())
        return output.features.square().mean() / (there * (there - 1) / 2)


def test_a_division_by_pairs_of_one_domain_is_found():
    assert "there are no pairs of domains then" in failed(Pairs())["one domain is enough"]


class Peeking(Grouped):
    """Has the labels of test rows from somewhere."""

    labels: ClassVar = []

    def decide(self, scores, run):
        return self.labels[-1][: len(scores)]


def test_false_labels_of_test_rows_change_what_somebody_decides_who_has_them(monkeypatch):
    plain = checks.run

    def watched(protocol, recipe, seed, dataset, device):
        Peeking.labels.append(dataset.test.labels)
        return plain(protocol, recipe, seed, dataset, device)

    monkeypatch.setattr(checks, "run", watched)
    assert "150 of 150 changed" in failed(Peeking(), thorough=True)["decoys change nothing"]


def test_a_recipe_without_groups_is_checked_by_recognition():
    names = {finding.check for finding in check_method("erm").findings}
    assert "domain numbers do not matter" not in names
    assert "domain numbers do not matter" in {f.check for f in check_method("rwg").findings}
