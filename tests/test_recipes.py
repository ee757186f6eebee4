import copy
import json
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ltbench import LTBenchError, Method, Recipe, Rule, hook, one, recipe
from ltbench.contract.method import declared, hooks
from ltbench.contract.recipes import parse, total, values
from ltbench.contract.recipes import recipe as composed
from ltbench.testing.probes import probe_run


def test_a_recipe_names_methods_and_their_parameters():
    assert parse("ldam+drw+sam(rho=0.8)") == [("ldam", {}), ("drw", {}), ("sam", {"rho": 0.8})]


def test_a_plus_inside_brackets_does_not_split():
    assert parse("sam(rho=1e+3)+erm") == [("sam", {"rho": 1000.0}), ("erm", {})]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("sam+drw+ldam", "ldam+drw+sam"),
        (" ldam + drw ", "ldam+drw"),
        ("sam(rho=0.05)", "sam"),
        ("sam( rho = 0.80 )", "sam(rho=0.8)"),
        ("logit-adjustment(tau=1)", "logit-adjustment"),
        ("vs(tau=2,gamma=0)", "vs(gamma=0.0, tau=2.0)"),
        ("erm+sam", "sam"),
        ("erm", "erm"),
        ("erm+erm", "erm"),
        ("sam+mixup", "mixup+sam"),
    ],
)
def test_one_meaning_has_one_spelling(written, canonical):
    assert recipe(written).text == canonical
    assert recipe(canonical).text == canonical


class Loose(Method):
    """Parameters without types."""

    name = "loose"

    def __init__(self, tau=1.0, kinds=None, pair=(1.0, 2.0)):
        self.tau, self.kinds, self.pair = tau, kinds, pair

    def adjust(self, scores, labels, run):
        return scores


def loose(text):
    return composed(text, {"loose": Loose}.get)


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        (("tau=2", "tau=2.0", "tau=2e0", "tau=+2"), "loose(tau=2.0)"),
        (("tau=1", "tau=1.0", ""), "loose"),
        (("tau=0.0", "tau=-0.0", "tau=0"), "loose(tau=0.0)"),
        (("kinds={'b', 'a'}", "kinds={'a', 'b'}"), "loose(kinds={'a', 'b'})"),
        (("kinds={'b': 1, 'a': 2.0}", "kinds={'a': 2, 'b': 1}"), "loose(kinds={'a': 2, 'b': 1})"),
        (("pair=[2, 3]", "pair=(2.0, 3)"), "loose(pair=(2.0, 3.0))"),
        (("pair=[1, 2]",), "loose"),
        (("kinds='caf\u00e9'", "kinds='cafe\u0301'", 'kinds="café"'), "loose(kinds='café')"),
    ],
)
def test_equal_values_of_untyped_parameters_have_one_spelling(spellings, canonical):
    for spelling in spellings:
        assert loose(f"loose({spelling})").text == canonical
    assert loose(canonical).text == canonical


def test_no_committed_recipe_is_called_otherwise(pytestconfig):
    told = {
        json.loads(path.read_bytes())["recipe"]
        for path in (pytestconfig.rootpath / "leaderboards").glob("*/records/*/*seed-0.json")
    }
    assert len(told) > 100
    assert {text: recipe(text).text for text in told} == {text: text for text in told}


@pytest.mark.parametrize(
    ("constructor", "words"),
    [
        (lambda self, tau=1.0: 1 / 0, "division by zero"),
        (lambda self, tau=1.0: setattr(self, "tau", torch.tensor(tau)), "keeps tensor(2.) as"),
        (lambda self, tau=1.0: None, "no attribute 'tau'"),
    ],
    ids=["raises", "a tensor", "nothing"],
)
def test_a_constructor_that_cannot_be_told_in_a_record_is_refused(constructor, words):
    strange = type("Strange", (Loose,), {"name": "strange", "__init__": constructor})
    with pytest.raises(LTBenchError) as refusal:
        composed("strange(tau=2)", {"strange": strange}.get)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_recipe_and_a_method_show_their_text():
    assert repr(recipe("sam(rho=0.8)+ldam")) == "Recipe('ldam+sam(rho=0.8)')"
    assert repr(recipe("sam(rho=0.8)").methods[0]) == "SAM('sam(rho=0.8)')"


def test_methods_that_meet_in_an_ordered_hook_keep_their_order():
    assert recipe("vs+ldam").text == "vs+ldam"
    assert recipe("ldam+vs").text == "ldam+vs"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sam(rho='\udce9')", "is not written in UTF-8"),
        ("sam+sam", "sam stands twice"),
        ("sam+sam(rho=0.1)", "sam stands twice"),
        ("lda", "did you mean 'ldam'"),
        ("ldam+drww", "did you mean 'drw'"),
        ("sam(roh=0.1)", "did you mean 'rho'"),
        ("sam(rho=0)", "expected float > 0"),
        ("sam(rho=-1)", "expected float > 0"),
        ("sam(rho=True)", "expected float, got bool"),
        ("ldam(max_margin='a')", "expected float, got str"),
        ("logit-adjustment(tau=1e999)", "expected a finite number"),
        ("class-balanced(beta=1.5)", "expected float <= 1"),
        ("smote(neighbours=2.5)", "expected int, got float"),
        ("", "malformed recipe"),
        ("ldam+", "malformed recipe"),
        ("ldam++drw", "malformed recipe"),
        ("LDAM", "malformed recipe"),
        ("sam(0.1)", "malformed arguments"),
        ("sam(rho=0.1", "malformed"),
        ("sam(rho=0.1))", "malformed"),
        ("sam(**{})", "malformed arguments"),
        ("sam(rho=0.1)(rho=0.2)", "malformed arguments"),
        ("sam(rho=print(1))", "malformed arguments"),
        ("sam(rho=__import__('os'))", "malformed arguments"),
        ("logit-adjustment(tau=-inf)", "tau=-inf is refused: expected a finite number"),
        ("x" * 2000, "at most 1000"),
    ],
)
def test_a_wrong_recipe_is_refused_in_a_sentence(text, words):
    with pytest.raises(LTBenchError, match=".") as refusal:
        recipe(text)
    assert words in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


class Half(Method):
    name = "half"

    def criterion(self, scores, labels, run):
        return super().criterion(scores, labels, run) / 2


def test_two_owners_of_one_hook_are_refused_by_name():
    with pytest.raises(LTBenchError, match="focal and half both decide the criterion"):
        Recipe(recipe("focal").methods[0], Half())


def test_one_hook_may_have_an_owner_in_each_role():
    assert recipe("oversampling+crt").text == "crt+oversampling"
    with pytest.raises(LTBenchError, match="both decide the draw"):
        Recipe(recipe("oversampling").methods[0], Draws())


class Draws(Method):
    name = "draws"

    def sampling_weights(self, labels, run):
        return labels + 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("balanced-softmax+posthoc-logit-adjustment", "both correct the prior"),
        ("smote+balanced-softmax", "balanced-softmax corrects only what that leaves"),
        ("oversampling+logit-adjustment", "logit-adjustment corrects only what that leaves"),
    ],
)
def test_a_prior_corrected_twice_is_warned_of(text, words):
    (warning,) = recipe(text).warnings
    assert words in warning


@pytest.mark.parametrize("text", ["ldam+drw", "balanced-softmax+sam", "crt+balanced-softmax"])
def test_one_correction_in_each_phase_is_fine(text):
    assert recipe(text).warnings == []


class Calibrates(Method):
    name = "calibrates"
    corrects = "prior"

    def scores(self, scores, run):
        return scores - run.seen.log()


class Retrains(Method):
    name = "retrains"
    corrects = "prior"
    roles = ("head",)

    def adjust(self, scores, labels, run):
        return scores + run.seen.log()


class Adapts(Method):
    name = "adapts"

    def adapt(self, model, inputs, run):
        return model, inputs


def test_what_corrects_after_all_phases_is_warned_of_beside_a_correction_in_one():
    for methods in ((Calibrates(), Retrains()), (Retrains(), Calibrates())):
        (warning,) = Recipe(*methods).warnings
        assert "calibrates" in warning and "retrains" in warning


def test_a_recipe_adapts_if_one_of_its_methods_does():
    assert Recipe(Adapts(), Retrains()).adapts
    assert not Recipe(Retrains()).adapts
    assert Recipe(Adapts(), Retrains()).adapt("model", "inputs", RUN) == ("model", "inputs")


class Weighs(Method):
    def __init__(self, times):
        self.times = times

    def weight(self, labels, run):
        return None if self.times is None else self.times * (labels + 1.0)

    def scores(self, scores, run):
        return scores if self.times is None else scores * self.times + 1


def weighing(*times):
    every = enumerate(times)
    return Recipe(*(type(f"W{n}", (Weighs,), {"name": f"w{n}"})(time) for n, time in every))


def test_weights_of_several_methods_are_multiplied():
    labels = torch.tensor([0, 2])
    assert weighing(2, None, 3).weight(labels, RUN).tolist() == [2 * 3, 6 * 9]
    assert weighing(None).weight(labels, RUN) is None


def test_scores_go_through_one_method_after_the_other():
    assert weighing(2, None, 3).scores(torch.ones(1), RUN).tolist() == [(1 * 2 + 1) * 3 + 1]


def test_a_recipe_pickles_with_its_parameters():
    again = pickle.loads(pickle.dumps(recipe("ldam(max_margin=0.3)+drw")))
    assert again.text == "ldam(max_margin=0.3)+drw"
    assert values(again.methods[0]) == {"max_margin": 0.3, "scale": 30.0}


@given(st.text(max_size=60) | st.from_regex(r"[a-z]+\([a-z]+=[^a]{0,20}\)(\+[a-z]+)?"))
def test_no_text_does_worse_than_a_refusal(text):
    try:
        parse(text)
    except LTBenchError as refusal:
        assert str(refusal)


def side_by_side(given):
    return [part for part in given if part is not None]


class Rounds(Method):
    """A contract of a track that trains in rounds, as a track states it."""

    @hook(one("aggregate what was learned"))
    def aggregate(self, states, run):
        return sum(states) / len(states)

    @hook(Rule(many=True, join=side_by_side))
    def report(self, run):
        return None

    @hook(Rule(many=True, training=True, join=total))
    def drift(self, scores, run):
        return None


class Median(Rounds):
    name = "median"

    def __init__(self, high=False):
        self.high = high

    def aggregate(self, states, run):
        return sorted(states)[len(states) // 2 - (not self.high)]

    def report(self, run):
        return f"{len(run.counts)} classes"


class Proximal(Rounds):
    name = "proximal"

    def __init__(self, mu=0.5):
        self.mu = mu

    def report(self, run):
        return f"mu {self.mu}"

    def drift(self, scores, run):
        return self.mu * scores.sum()


class Late(Rounds):
    name = "late"
    roles = ("head",)

    def drift(self, scores, run):
        return 100 * scores.sum()


class Mean(Rounds):
    name = "mean"

    def aggregate(self, states, run):
        return sum(states) / len(states)


RUN = probe_run(Method(), (3, 2, 1), torch.float64)


def in_rounds(*methods):
    return Recipe(*methods, contract=Rounds)


def test_a_tracks_hook_with_one_owner_is_that_owners():
    assert in_rounds(Median(), *recipe("ldam").methods).aggregate([1, 9, 2, 4], RUN) == 2
    assert in_rounds(Median(high=True)).aggregate([1, 9, 2, 4], RUN) == 4


def test_a_tracks_hook_that_nobody_owns_does_what_the_contract_says():
    plain = in_rounds(*recipe("ldam+sam").methods)
    assert plain.aggregate([1, 9, 2, 4], RUN) == 4
    assert plain.report(RUN) == []
    assert plain.drift(torch.ones(2), RUN) is None


def test_two_owners_of_a_tracks_hook_are_refused_by_name():
    with pytest.raises(LTBenchError, match="^median and mean both aggregate what was learned$"):
        in_rounds(Median(), Mean())


def test_what_many_owners_of_a_tracks_hook_give_is_joined_by_its_rule():
    both = in_rounds(Proximal(), Median())
    assert [method.name for method in both.methods] == ["median", "proximal"]
    assert both.report(RUN) == ["3 classes", "mu 0.5"]
    assert in_rounds(Median()).report(RUN) == ["3 classes"]


def test_a_tracks_hook_of_training_acts_in_the_roles_of_its_methods():
    every, scores = in_rounds(Proximal(), Late()), torch.ones(4)
    assert every.drift(scores, RUN) == 2
    later = replace(RUN, phase=replace(RUN.phase, role="head"))
    assert every.drift(scores, later) == 400
    always = Proximal(mu=1.0)
    always.roles = ("main", "head")
    assert in_rounds(always, Late()).drift(scores, later) == 404


def test_hooks_of_a_track_stand_after_those_of_all_methods():
    assert list(declared(Rounds))[-3:] == ["aggregate", "report", "drift"]
    assert hooks(Median) == ("aggregate", "report")
    assert in_rounds(Median(), *recipe("sam").methods).text == "sam+median"


def test_a_hook_that_no_contract_knows_is_no_attribute():
    with pytest.raises(AttributeError, match="'Recipe' object has no attribute 'aggregate'"):
        recipe("ldam").aggregate  # noqa: B018
    with pytest.raises(AttributeError, match="'Recipe' object has no attribute 'agregate'"):
        in_rounds(Median()).agregate  # noqa: B018


@pytest.mark.parametrize(
    "again", [copy.deepcopy, copy.copy, lambda made: pickle.loads(pickle.dumps(made))]
)
def test_a_recipe_with_a_tracks_contract_is_copied_whole(again):
    made = in_rounds(Median(), Proximal(mu=2.0), *recipe("ldam").methods)
    assert made.report(RUN) == ["3 classes", "mu 2.0"]  # also once hooks were called
    other = again(made)
    assert (other.text, other.contract) == ("ldam+median+proximal(mu=2.0)", Rounds)
    assert other.aggregate([1, 9, 2, 4], RUN) == 2
    assert other.report(RUN) == ["3 classes", "mu 2.0"]
    assert other.drift(torch.ones(2), RUN) == 4
