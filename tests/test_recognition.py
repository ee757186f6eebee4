import math

import msgspec
import pytest
import torch

from ltbench import Method, Recipe, protocol, recipe
from ltbench.datasets import built_in
from ltbench.errors import Unmet
from ltbench.tracks import classification, one_label
from ltbench.tracks.classification import Parts
from ltbench.tracks.recognition import track as recognition

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()


def changed(protocol, table, **keys):
    inner = msgspec.structs.replace(getattr(protocol, table), **keys)
    return msgspec.structs.replace(protocol, **{table: inner})


@pytest.fixture
def fixed(tiny):
    return protocol(tiny)


def test_a_cell_yields_all_that_a_record_tells(fixed):
    outcome = recognition.run(fixed, recipe("erm"), 0, DIGITS, CPU)
    assert outcome.measures["balanced_accuracy"] > 0.2
    assert outcome.measures["balanced_accuracy"] == pytest.approx(sum(outcome.recall) / 10)
    assert len(outcome.arrays["labels"]) == 200
    assert outcome.timing.passes == 1
    assert outcome.timing.seconds > 0
    assert outcome.timing.reference_work > 0
    assert outcome.transductive is None


def test_the_last_epoch_is_scored_with_test_rows_read_after_training(fixed, monkeypatch):
    order = []
    split = classification.split

    def watched(*given):
        parts = split(*given)

        def test():
            order.append("test rows read")
            return parts.test()

        return Parts(parts.train, parts.validation, test, parts.class_counts)

    class Last(Method):
        name = "last"

        def finish(self, model, validation, run):
            order.append("training done")
            return model

    monkeypatch.setattr(one_label, "split", watched)
    recognition.run(fixed, Recipe(Last()), 0, DIGITS, CPU)
    assert order == ["training done", "test rows read"]


class Adapts(Method):
    """Sees the test inputs, not their labels, and turns the network upside down."""

    name = "adapts"
    needs = frozenset({"test_inputs"})

    def adapt(self, model, inputs, run):
        assert inputs.shape == (200, 1, 8, 8)
        model.head.weight.neg_()
        model.head.bias.neg_()
        return model


def test_what_uses_test_inputs_has_scores_of_its_own(fixed):
    outcome = recognition.run(fixed, Recipe(Adapts()), 0, DIGITS, CPU)
    plain = recognition.run(fixed, recipe("erm"), 0, DIGITS, CPU)
    assert outcome.measures == plain.measures
    assert outcome.transductive["balanced_accuracy"] < plain.measures["balanced_accuracy"]


class Keeps(Method):
    """Keeps the test inputs as they came."""

    name = "keeps"
    needs = frozenset({"test_inputs"})
    inputs = []

    def adapt(self, model, inputs, run):
        self.inputs.append(inputs)
        return model


def test_test_inputs_come_in_an_order_that_tells_nothing_of_the_labels(fixed):
    recognition.run(fixed, Recipe(Keeps()), 0, DIGITS, CPU)
    (seen,) = Keeps.inputs
    test = classification.split(fixed, DIGITS, 0).test().inputs
    place = torch.cdist(seen.flatten(1), test.flatten(1)).argmin(1)
    assert place.bincount(minlength=len(test)).max() <= 2  # the same rows, maybe one twice alike
    assert abs(torch.corrcoef(torch.stack([place.float(), torch.arange(200.0)]))[0, 1]) < 0.3


class Needs(Method):
    name = "needs-ood"
    needs = frozenset({"ood"})

    def extra(self, output, batch, run):
        return run.granted.ood


def test_an_unmet_need_is_told_by_name(fixed):
    with pytest.raises(Unmet, match="tiny supplies no ood; needs-ood needs that"):
        recognition.run(fixed, Recipe(Needs()), 0, DIGITS, CPU)


def test_a_cell_is_the_same_to_the_bit_each_time(fixed):
    first, second = (recognition.run(fixed, recipe("mixup"), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert (first.arrays["confidence"] == second.arrays["confidence"]).all()


def test_the_reference_is_the_mean_of_plain_training_before_and_after(fixed, monkeypatch):
    works = iter([100.0, 2.0, 4.0])  # the first only warms up
    monkeypatch.setattr(recognition, "time_plain", lambda *given: next(works))
    outcome = recognition.run(fixed, recipe("erm"), 0, DIGITS, CPU)
    assert outcome.timing.reference_work == 3


def test_the_reference_is_about_what_plain_training_takes(fixed):
    long = changed(fixed, "budget", epochs=40)
    outcome = recognition.run(long, recipe("erm"), 0, DIGITS, CPU)
    assert math.isclose(outcome.timing.work, outcome.timing.reference_work, rel_tol=1)
