"""Fine-tuning: how rows are cut, upstream models and who shares them, measures, bad input."""

import pickle

import numpy as np
import pytest
import torch
from msgspec import structs

from ltbench import LTBenchError, Method, Recipe, Rows, Unmet, protocol, recipe
from ltbench.datasets import Dataset, built_in
from ltbench.registry.registry import installed
from ltbench.testing.report import Failure
from ltbench.tracks import kept_networks
from ltbench.tracks.finetuning import checks, upstream
from ltbench.tracks.finetuning.contract import FineTuner, FinetuningGrants
from ltbench.tracks.finetuning.cutting import cut, noisy, orders
from ltbench.tracks.finetuning.scores import grouped, halves
from ltbench.tracks.finetuning.track import begin, divide, measured, run
from ltbench.tracks.kept_networks import digest
from ltbench.tracks.recognition.track import run as recognise

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "finetuning"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path))
    upstream._networks.clear()
    yield
    upstream._networks.clear()


def short(name="digits-finetune", epochs=2, **more):
    given = protocol(name)
    budget = structs.replace(given.budget, epochs=epochs)
    before = structs.replace(given.upstream, budget=budget)
    return structs.replace(given, **{"budget": budget, "upstream": before, **more})


def of_upstream(given, **more):
    return structs.replace(given, upstream=structs.replace(given.upstream, **more))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


def test_no_row_stands_in_two_parts():
    numbered = torch.arange(float(len(DIGITS.train))).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    rows = Dataset(Rows(numbered, DIGITS.train.labels), DIGITS.classes)
    fixed = short(noise=0.0)
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))
    for seed in (0, 1):
        found = cut(fixed, rows, seed)
        before = {n for part in found.upstream for n in part.inputs[:, 0, 0, 0].tolist()}
        learned, tested = (
            set(part.inputs[:, 0, 0, 0].tolist())
            for part in (found.parts.train, found.parts.test())
        )
        assert [len(learned), len(tested)] == [157, 500]
        assert not (before & learned or before & tested or learned & tested)


def test_upstream_tails_have_orders_of_their_own_or_one_for_all():
    different = cut(short(), DIGITS, 0).counts
    assert all(sorted(counts, reverse=True) == TAIL for counts in different)
    assert len({tuple(counts) for counts in different}) == 3
    same = cut(short("digits-finetune-same"), DIGITS, 0).counts
    assert same == [different[0]] * 3
    assert cut(short(), DIGITS, 1).counts != different


TAIL = [70, 47, 31, 21, 14, 9, 6, 4, 2, 2]


def test_the_largest_class_of_an_order_has_the_most_rows():
    fixed = short()
    drawn, found = orders(fixed.upstream, 10, 4), cut(fixed, DIGITS, 4).counts
    for order, counts in zip(drawn, found, strict=True):
        assert [counts[c] for c in order] == TAIL


def test_the_control_differs_in_the_orders_alone():
    first, second = (protocol(name) for name in ("digits-finetune", "digits-finetune-same"))
    for key in ("data", "imbalance", "network", "budget", "noise", "compute"):
        assert getattr(first, key) == getattr(second, key)
    assert of_upstream(second, orders="different").upstream == first.upstream


def test_noise_is_that_of_a_row_in_all_cells_and_leaves_the_fingerprint():
    first, second = noisy(DIGITS, 0.25), noisy(DIGITS, 0.25)
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert first.fingerprint == DIGITS.fingerprint
    moved = first.train.inputs - DIGITS.train.inputs
    assert abs(moved.std().item() - 0.25) < 0.005 and abs(moved.mean().item()) < 0.005
    assert noisy(DIGITS, 0.0) is DIGITS


def test_noise_on_bytes_is_refused():
    rows = Rows(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.arange(2))
    with pytest.raises(LTBenchError, match="noise is added to numbers, but inputs are torch.uint8"):
        noisy(Dataset(rows, ("a", "b")), 0.1)


def test_a_cell_tells_its_upstream_models():
    found = run(short(), recipe("linear-probe"), 0, DIGITS, CPU)
    assert found.details.counts == cut(short(), DIGITS, 0).counts
    assert len(set(found.details.networks)) == 3
    assert found.measures["trained_parameters"] == 10 * (24 + 1)


def test_recipes_of_a_seed_share_upstream_models_and_seeds_do_not():
    first, second, other = (
        run(short(), recipe(text), seed, DIGITS, CPU).details.networks
        for text, seed in (("linear-probe", 0), ("back-door+lora", 0), ("linear-probe", 1))
    )
    assert first == second and not set(first) & set(other)


def test_upstream_models_that_were_kept_are_the_same_to_the_bit(monkeypatch):
    fixed = short()
    rows = cut(fixed, DIGITS, 0).upstream
    made = [digest(one) for one in upstream.Trained(fixed, rows, 0, CPU)()]
    upstream._networks.clear()
    monkeypatch.setattr(upstream, "train", None)  # nobody trains again
    assert [digest(one) for one in upstream.Trained(fixed, rows, 0, CPU)()] == made


def test_damaged_upstream_models_are_refused_in_a_line():
    fixed = short()
    maker = upstream.Trained(fixed, cut(fixed, DIGITS, 0).upstream, 0, CPU)
    maker()
    (path,) = (kept_networks.cache_folder() / "backbones").glob("*.pt")
    path.write_bytes(b"torn")
    upstream._networks.clear()
    with pytest.raises(LTBenchError, match=r"backbone .* cannot be read .*delete it"):
        maker()


def test_plain_training_lets_all_of_the_first_model_learn():
    fixed = short()
    made = run(fixed, recipe("erm"), 0, DIGITS, CPU)
    assert made.measures["trained_parameters"] == 64 * 64 + 64 + 64 * 24 + 24 + 24 * 10 + 10
    same = run(fixed, recipe("full-finetune(rate=1.0)"), 0, DIGITS, CPU)
    assert np.array_equal(same.arrays["confidence"], made.arrays["confidence"])


def test_networks_begin_with_one_head_and_the_model_as_the_first():
    fixed = short()
    found = cut(fixed, DIGITS, 0)
    before = upstream.Trained(fixed, found.upstream, 0, CPU)()
    given = begin(fixed, found.parts, before, 0, CPU)
    heads = [network.head.weight for network in given.granted.networks]
    assert torch.equal(heads[0], heads[1]) and torch.equal(heads[0], heads[2])
    assert not torch.equal(heads[0], before[0].head.weight)
    assert digest(given.model) == digest(given.granted.networks[0])
    assert torch.equal(given.model.trunk[1].weight, before[0].trunk[1].weight)


@pytest.mark.parametrize("text", ["lift+logit-adjustment", "back-door+lora", "linear-probe+crt"])
def test_one_seed_gives_the_same_bits(text):
    first, second = (run(short(), recipe(text), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(np.array_equal(first.arrays[n], second.arrays[n]) for n in first.arrays)


def test_a_cell_that_travels_holds_no_row_but_its_own():
    given = divide(short(), 0, DIGITS).given
    travelled = pickle.loads(pickle.dumps(given))
    assert len(travelled.train) == 157
    assert [len(rows) for rows in travelled.beside.rows] == [sum(TAIL)] * 3
    assert len(pickle.dumps(given)) < 4 * len(pickle.dumps(given.train.inputs.clone())) + 300_000


def test_halves_are_worked_by_hand():
    recall = np.array([0.9, 0.1, 0.5, 0.3, 0.7])
    many, few = halves(recall, [1, 9, 5, 7, 3])
    assert many == pytest.approx(0.2)  # of classes 1 and 3; class 2 is in the middle
    assert few == pytest.approx(0.8)  # of classes 4 and 0
    assert halves(recall[:4], [2, 2, 2, 2]) == (pytest.approx(0.5), pytest.approx(0.4))
    assert halves(np.array([np.nan, 0.5]), [1, 2]) == (0.5, None)


def test_groups_go_by_the_first_upstream_model_and_by_what_is_learned():
    recall = np.array([1.0, 0.0, 0.5, 0.5])
    told = grouped(recall, upstream=[9, 5, 2, 1], downstream=[1, 2, 3, 4])
    assert told == {
        "p_many": 0.5,
        "p_few": 0.5,
        "p_gap": 0.0,
        "d_many": 0.5,
        "d_few": 0.5,
        "d_gap": 0.0,
    }
    turned = grouped(recall, upstream=[9, 1, 5, 2], downstream=[1, 9, 5, 2])
    assert (turned["p_gap"], turned["d_gap"]) == (0.5, -0.5)
    assert grouped(recall, [], [4, 3, 2, 1])["p_gap"] is None


def test_every_measure_of_groups_follows_from_what_is_kept():
    fixed = short()
    made = run(fixed, recipe("linear-probe"), 0, DIGITS, CPU)
    told = measured(fixed, made, made.arrays, made.details)
    for name in ("balanced_accuracy", "p_few", "p_gap", "d_many", "d_gap", "worst_class"):
        low, high = told[name]
        assert low <= made.measures[name] <= high


class Thief(FineTuner):
    """Trains on the networks that it is granted themselves."""

    name = "thief"

    def tune(self, network, run):
        return run.granted.networks[0]


class Rude(Method):
    """Changes an upstream model that is shared by all."""

    name = "rude"

    def resample(self, train, run):
        for networks in upstream._networks.values():
            networks[0].trunk[1].weight.data.add_(1)
        return train


def test_the_checks_find_a_method_that_changes_what_it_is_granted():
    with pytest.raises(Failure, match="expected pre-trained networks as they were"):
        checks.upstream_models_stay_as_they_are(Recipe(Thief()))


def test_a_cell_that_changed_an_upstream_model_fails():
    with pytest.raises(LTBenchError, match="rude changed an upstream model"):
        run(short(), Recipe(Rude()), 0, DIGITS, CPU)


def test_a_method_is_granted_networks_alone():
    assert set(FinetuningGrants.__dataclass_fields__) == {"networks", "cross_fitted", "positive"}


@pytest.mark.parametrize("text", ["linear-probe", "back-door+lift"])
def test_thorough_checks_pass(text):
    for check in checks.THOROUGH.values():
        check(recipe(text))


def test_too_few_rows_for_upstream_models_are_told():
    fixed = of_upstream(short(), n_max=150)
    message = r"upstream on 150 rows of class \d, of which \d+ are left by \d+ to learn and 50"
    with pytest.raises(LTBenchError, match=message):
        cut(fixed, DIGITS, 0)


@pytest.mark.parametrize("text", ["linear-probe", "lora", "lift", "back-door", "from-scratch"])
def test_other_tracks_have_no_pre_trained_networks(text):
    with pytest.raises(Unmet, match="digits-lt supplies no backbones"):
        recognise(protocol("digits-lt"), recipe(text), 0, DIGITS, CPU)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[upstream]\nmodels = 0", "models"),
        ('[upstream]\norders = "both"', "orders"),
        ("[upstream]\nfactor = 0.5", "factor 0.5 must be 1 or more"),
        ("[upstream]\nlayers = 2", "layers"),
        ("noise = -1.0", "noise"),
        ("[data]\nlabel_noise = 0.1", "label_noise is not for this track"),
    ],
)
def test_bad_protocols_are_refused_in_a_line(tmp_path, toml, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "digits-finetune"\nname = "mine"\n{toml}\n')
    with pytest.raises(LTBenchError, match=message) as refused:
        protocol(path)
    assert str(refused.value).count("\n") <= 1
