import numpy as np
import pytest
import torch
from msgspec import structs

import ltbench
from ltbench import LTBenchError, Rows
from ltbench.datasets import Dataset
from ltbench.registry.registry import installed
from ltbench.running.tuning import of_trials
from ltbench.tracks import trials
from ltbench.tracks.classification import split


def test_a_share_of_each_class_is_put_aside_and_small_classes_keep_their_rows():
    labels = np.repeat([0, 1, 2], [10, 5, 4])
    kept, held = trials.cut(labels, 0.2, seed=0)
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 1, 0]
    assert np.bincount(labels[kept], minlength=3).tolist() == [8, 4, 4]
    assert sorted([*kept, *held]) == list(range(19))
    other = trials.cut(labels, 0.2, seed=1)[1]
    assert other.tolist() != held.tolist()


def test_a_share_of_no_row_is_refused():
    with pytest.raises(LTBenchError, match="0.2 puts no row of any class aside"):
        trials.cut(np.repeat([0, 1], 4), 0.2, seed=0)


def numbered(classes=(40, 40, 40)):
    """Rows whose one input is a number of their own."""
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor(classes))
    return Dataset(Rows(torch.arange(len(labels)).float()[:, None], labels), ("a", "b", "c"))


@pytest.fixture
def protocol(tiny):
    found = ltbench.protocol(tiny)
    data = structs.replace(found.data, fingerprint="any", test_per_class=3)
    imbalance = structs.replace(found.imbalance, n_max=30, factor=10)
    return structs.replace(found, data=data, imbalance=imbalance)


def inputs(rows):
    return set(rows.inputs[:, 0].tolist())


@pytest.mark.parametrize("seed", [0, 1])
def test_no_trial_sees_a_test_row_of_its_seed(protocol, seed):
    dataset = numbered()
    whole = split(protocol, dataset, seed)
    ordinary, apart = trials.trial(of_trials(protocol), dataset, seed)
    parts = split(ordinary, apart, seed)
    trained, validated = inputs(parts.train), inputs(parts.test())
    assert not trained & validated
    assert trained | validated == inputs(whole.train)
    assert not (trained | validated) & inputs(whole.test())


def test_rows_that_the_protocol_puts_aside_for_methods_are_cut_from_what_is_left(protocol):
    data = structs.replace(protocol.data, validation_share=0.5)
    protocol = structs.replace(protocol, data=data)
    ordinary, apart = trials.trial(of_trials(protocol), numbered(), 0)
    parts = split(ordinary, apart, 0)
    assert inputs(parts.validation)
    assert not inputs(parts.validation) & inputs(parts.test())
    every = inputs(parts.validation) | inputs(parts.train) | inputs(parts.test())
    own = split(protocol, numbered(), 0)
    assert every == inputs(own.train) | inputs(own.validation)


def test_classes_that_keep_their_rows_are_told(protocol):
    _, apart = trials.trial(of_trials(protocol), numbered(), 0)
    assert len(apart.notes) == 1
    assert apart.notes[0].startswith("1 of 3 classes (")
    assert "keeps its rows in trials, and validation leaves it out" in apart.notes[0]


def test_a_protocol_of_trials_has_a_hash_of_its_own_and_the_share_alone_changes_no_other(protocol):
    more = structs.replace(protocol, tuning_share=0.5)
    assert more.hash == protocol.hash
    assert len({protocol.hash, of_trials(protocol).hash, of_trials(more).hash}) == 3


def test_the_validation_score_leaves_out_classes_without_validation_rows(protocol):
    track = installed().track("recognition")
    recipe = installed().recipe("erm")
    outcome = track.run(of_trials(protocol), recipe, 0, numbered(), torch.device("cpu"))
    assert [recall is None for recall in outcome.recall].count(True) == 1
    there = [recall for recall in outcome.recall if recall is not None]
    assert outcome.measures["balanced_accuracy"] == pytest.approx(sum(there) / 2)
    assert outcome.arrays is None
    assert any("keeps its rows" in note for note in outcome.notes)
