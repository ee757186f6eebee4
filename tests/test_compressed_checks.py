import pytest

from ltbench import Method, Recipe
from ltbench.errors import LTBenchError
from ltbench.testing import check_method
from ltbench.tracks.compression import checks
from ltbench.tracks.compression.pruning import pruned


class Compressor(Method):
    needs = frozenset({"teacher"})

    def build(self, model, run):
        pruned(model, run)
        return self.spoilt(model, run)

    def spoilt(self, model, run):
        return model


class Unseeded(Compressor):
    name = "same seed same bits"

    def spoilt(self, model, run):
        model.head.bias.data += id(object()) % 997 + next(CALLS)
        return model


class ChangesTheTeacher(Compressor):
    name = "teacher rows and chance untouched"

    def spoilt(self, model, run):
        run.teacher.head.bias.data += 1
        return model


class KeepsAll(Compressor):
    name = "network is smaller"

    def build(self, model, run):
        return model


class BreaksTheHead(Compressor):
    name = "whole network is the teacher"

    def spoilt(self, model, run):
        model.head.bias.data += 1
        return model


class DividesByNothing(Compressor):
    name = "rare classes are handled"

    def spoilt(self, model, run):
        model.head.bias.data /= (run.counts.min() - 1).clamp(max=1)
        return model


class DividesBySpread(Compressor):
    name = "equal counts are handled"

    def spoilt(self, model, run):
        model.head.bias.data /= (run.counts.max() - run.counts.min()).clamp(max=1)
        return model


class DecidesByCompany(Compressor):
    name = "rows are decided alone"

    def combine(self, output, run):
        return output.heads[0] - output.heads[0].mean(dim=0)


class FourClassesAtMost(Compressor):
    name = "any number of classes"

    def spoilt(self, model, run):
        if run.num_classes > 4:
            raise IndexError("four")
        return model


class NumbersOnly(Compressor):
    name = "bytes are taken"

    def spoilt(self, model, run):
        model(run.train.inputs)
        return model


class PassesTwice(Compressor):
    name = "statistics move once a step"

    def batch(self, batch, run):
        run.model(batch.inputs)
        return batch


class HasNoPickle(Compressor):
    name = "it pickles"

    def __init__(self):
        self.forget = lambda: None


CALLS = iter(range(10**6))
BAD = [
    Unseeded,
    ChangesTheTeacher,
    KeepsAll,
    BreaksTheHead,
    DividesByNothing,
    DividesBySpread,
    DecidesByCompany,
    FourClassesAtMost,
    NumbersOnly,
    PassesTwice,
    HasNoPickle,
]


@pytest.mark.parametrize("method", BAD, ids=lambda method: method.__name__)
def test_each_check_finds_what_it_looks_for(method, monkeypatch):
    name = method.name
    monkeypatch.setattr(checks, "CHECKS", {name: checks.CHECKS[name]})
    report = check_method(Recipe(method()))
    assert [f.status for f in report.findings] == ["failed"], report


def test_bad_methods_cover_every_check_that_a_method_can_fail():
    assert {m.name for m in BAD} | {"held out rows stay out"} == checks.CHECKS.keys()


def test_test_rows_that_reach_a_hook_are_found(monkeypatch):
    train = checks.compression.train

    def leaky(method, rows, run, batch_size):
        _, dataset = checks.marked()
        return train(method, dataset.train, run, batch_size)

    monkeypatch.setattr(checks.compression, "train", leaky)
    with pytest.raises(checks.Failure, match="held-out ones reached"):
        checks.held_out_rows_stay_out(Recipe(Compressor()))


def test_a_method_without_a_compressor_is_checked_for_the_rest():
    with pytest.raises(checks.NotApplicable):
        checks.network_is_smaller(Recipe(Method()))
    assert issubclass(checks.NotApplicable, Exception)
    assert not issubclass(checks.NotApplicable, LTBenchError)
