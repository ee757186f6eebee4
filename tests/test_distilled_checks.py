import pytest
import torch

from ltbench import Method, Recipe, Rows
from ltbench.registry.registry import installed
from ltbench.testing import check_method
from ltbench.tracks.distillation import checks


@pytest.mark.parametrize("text", ["ncfm(sampler=True)", "random+balanced-softmax"])
def test_variants_and_compositions_pass_every_check(text):
    report = check_method(installed().recipe(text))
    assert report.passed, report


class Distiller(Method):
    needs = frozenset({"ipc"})

    def resample(self, train, run):
        kept = [(train.labels == c).nonzero()[: run.ipc, 0] for c in range(run.num_classes)]
        return self.spoilt(train[torch.cat(kept)], train, run)


class Unseeded(Distiller):
    name = "same seed same bits"

    def spoilt(self, kept, train, run):
        chance = torch.Generator()
        chance.seed()
        return Rows(kept.inputs * torch.rand((), generator=chance), kept.labels)


class InPlace(Distiller):
    name = "inputs and chance untouched"

    def spoilt(self, kept, train, run):
        train.inputs.mul_(0.5)
        return kept


class FavoursClass0(Distiller):
    name = "class names do not matter"

    def spoilt(self, kept, train, run):
        return Rows(kept.inputs * (kept.labels == 0)[:, None, None, None], kept.labels)


class OverBudget(Distiller):
    name = "budget is kept"

    def spoilt(self, kept, train, run):
        return train


class OutOfRange(Distiller):
    name = "rare classes are handled"

    def spoilt(self, kept, train, run):
        return Rows(kept.inputs * (10 if (run.counts < run.ipc).any() else 1), kept.labels)


class DividesBySpread(Distiller):
    name = "equal counts are handled"

    def spoilt(self, kept, train, run):
        return Rows(kept.inputs / run.counts.std(), kept.labels)


class NeedsTwoRows(Distiller):
    name = "one row a class is handled"

    def spoilt(self, kept, train, run):
        return Rows(kept.inputs / (run.ipc > 1), kept.labels)


class FourClassesAtMost(Distiller):
    name = "any number of classes"

    def spoilt(self, kept, train, run):
        return kept[kept.labels < 4]


class WrongKind(Distiller):
    name = "bytes stay bytes"

    def spoilt(self, kept, train, run):
        return Rows(kept.inputs.float(), kept.labels)


class HasNoPickle(Distiller):
    name = "it pickles"

    def __init__(self):
        self.forget = lambda: None

    def spoilt(self, kept, train, run):
        return kept


BAD = [
    Unseeded,
    InPlace,
    FavoursClass0,
    OverBudget,
    OutOfRange,
    DividesBySpread,
    NeedsTwoRows,
    FourClassesAtMost,
    WrongKind,
    HasNoPickle,
]


@pytest.mark.parametrize("method", BAD, ids=lambda method: method.__name__)
def test_each_check_finds_what_it_looks_for(method):
    report = check_method(Recipe(method()))
    assert method.name in {f.check for f in report.findings if f.status == "failed"}, report


def test_bad_methods_cover_every_check_that_a_method_can_fail():
    assert {method.name for method in BAD} | {"held out rows stay out"} == checks.CHECKS.keys()


def test_test_rows_that_reach_a_hook_are_found(monkeypatch):
    train = checks.distillation.train

    def leaky(method, rows, run, batch_size):
        _, dataset = checks.marked()
        return train(method, dataset.train, run, batch_size)

    monkeypatch.setattr(checks.distillation, "train", leaky)
    report = check_method(installed().recipe("random"))
    assert [f.check for f in report.findings if f.status == "failed"] == ["held out rows stay out"]
