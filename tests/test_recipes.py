import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbench import LTBenchError, Method, Recipe, recipe
from ltbench.contract.recipes import parse, values


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
        ("sam+mixup", "mixup+sam"),
    ],
)
def test_one_meaning_has_one_spelling(written, canonical):
    assert recipe(written).text == canonical
    assert recipe(canonical).text == canonical


def test_methods_that_meet_in_an_ordered_hook_keep_their_order():
    assert recipe("vs+ldam").text == "vs+ldam"
    assert recipe("ldam+vs").text == "ldam+vs"


@pytest.mark.parametrize(
    ("text", "words"),
    [
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
