import pytest

from ltbench import Choice, Integer, LogUniform, LTBenchError, Method, Uniform
from ltbench.contract.method import NonNegative
from ltbench.contract.spaces import require_sound
from ltbench.registry.registry import Registry
from ltbench.testing import check_method


class Scaled(Method):
    """Scores times a number, of which there is a search space."""

    name = "scaled"
    space = {"strength": LogUniform(0.1, 10), "kind": Choice("a", "b")}

    def __init__(self, strength: NonNegative = 1.0, kind: str = "a", border: int | None = None):
        self.strength = strength
        self.kind = kind
        self.border = border

    def scores(self, scores, run):
        return scores * self.strength


def test_places_from_0_to_1_are_values_of_the_range():
    assert [Uniform(0.5, 2.5).at(u) for u in (0, 0.25, 1)] == [0.5, 1.0, 2.5]
    assert [LogUniform(0.01, 100).at(u) for u in (0, 0.25, 0.5, 1)] == [0.01, 0.1, 1.0, 100]
    assert [Integer(2, 4).at(u) for u in (0, 0.3, 0.34, 0.67, 0.99, 1)] == [2, 2, 3, 4, 4, 4]
    assert [Choice("a", None).at(u) for u in (0, 0.49, 0.5, 1)] == ["a", "a", None, None]


def test_numbers_have_three_figures_and_stay_within_their_ends():
    assert Uniform(0, 1).at(1 / 3) == 0.333
    assert LogUniform(1, 10).at(1 / 3) == 2.15
    assert Uniform(0.12349, 1).at(0) == 0.12349  # and not 0.123
    assert Uniform(0, 0.12351).at(1) == 0.12351  # and not 0.124


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Uniform(2, 1), r"Uniform\(2, 1\) holds no range"),
        (lambda: Uniform(0, float("inf")), "holds no range"),
        (lambda: LogUniform(0, 1), r"LogUniform\(0, 1\) has no logarithm"),
        (lambda: Integer(1, 2.5), "needs whole numbers"),
        (lambda: Choice(), r"Choice\(\) needs two values or more"),
        (lambda: Choice(1, 1), r"Choice\(1, 1\) needs two values or more, each once"),
    ],
)
def test_a_space_that_holds_nothing_to_choose_from_is_refused(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"strenght": Uniform(0, 2)}, "did you mean 'strength'"),
        ({"strength": Uniform(-1, 2)}, "strength=-1 is refused"),
        ({"strength": LogUniform(2, 4)}, r"in LogUniform\(2, 4\) leaves out its default 1"),
        ({"kind": Choice("b", "c")}, "leaves out its default 'a'"),
        ({"kind": Choice("a", 3)}, "kind=3 is refused"),
        ({"border": Integer(1, 9)}, "leaves out its default None"),
        ({"strength": (0, 2)}, "it takes Uniform, LogUniform, Integer, Choice"),
        ([("strength", Uniform(0, 2))], "it looks like {'tau': LogUniform"),
    ],
)
def test_a_space_that_does_not_fit_its_method_is_refused_by_name(space, told, monkeypatch):
    monkeypatch.setattr(Scaled, "space", space)
    with pytest.raises(LTBenchError, match=told):
        require_sound(Scaled)
    with pytest.raises(LTBenchError, match=told):
        Registry().recipe(Scaled())
    failed = [one for one in check_method(Scaled()).findings if one.status == "failed"]
    assert [one.check for one in failed] == ["search spaces are sound"]


def test_a_sound_space_passes_the_checks():
    assert require_sound(Scaled) == Scaled.space
    found = {one.check: one.status for one in check_method(Scaled()).findings}
    assert found["search spaces are sound"] == "passed"


def test_a_plugin_whose_space_does_not_fit_is_left_out_with_the_reason(install):
    install(
        "shady",
        """
        from ltbench import Method, Uniform, hookimpl

        class Shady(Method):
            name = "shady"
            space = {"rho": Uniform(0, 1)}

            def scores(self, scores, run):
                return scores

        @hookimpl
        def register_methods(register):
            register(Shady)
        """,
    )
    with pytest.raises(LTBenchError, match="rho") as refused:
        Registry().method("shady")
    assert "the space of shady" in str(refused.value)
