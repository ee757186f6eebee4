"""Learning from a pool: how it is cut, what is withheld, generations, mean weights, bad input."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs

from ltbench import LTBenchError, Recipe, Rows, Unmet, protocol, recipe
from ltbench.augmentation.views import Views
from ltbench.contract.context import Phase, Run
from ltbench.datasets import Dataset, built_in
from ltbench.registry.registry import installed
from ltbench.testing.probes import probe_run
from ltbench.testing.report import Failure
from ltbench.testing.task import rows_of
from ltbench.tracks.recognition.problem import Recognition
from ltbench.tracks.recognition.track import run as recognise
from ltbench.tracks.semi import checks, open_set
from ltbench.tracks.semi.contract import POOL, SemiGrants, SemiSupervised
from ltbench.tracks.semi.cutting import UNKNOWN, Source, cut, load, profile, refuse_overlap
from ltbench.tracks.semi.learning import Average, Pooled
from ltbench.tracks.semi.problem import Pool
from ltbench.tracks.semi.strong import affine, strongly
from ltbench.tracks.semi.track import Beside, begin, divide, of_pool, run
from ltbench.training import engine, method_state

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "semi"]


def short(name="digits-semi-consistent", epochs=2, **more):
    given = protocol(name)
    return structs.replace(given, budget=structs.replace(given.budget, epochs=epochs), **more)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


def test_the_pool_has_no_row_that_is_labelled_or_tested_on():
    numbered = torch.arange(float(len(DIGITS.train))).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    rows = Dataset(Rows(numbered, DIGITS.train.labels), DIGITS.classes)
    fixed = short()
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))
    for seed in (0, 1):
        found = cut(fixed, rows, seed)
        parts = (found.parts.train, found.pool, found.parts.test())
        places = [set(part.inputs[:, 0, 0, 0].tolist()) for part in parts]
        assert [*map(len, places)] == [98, 303, 500]
        assert not (places[0] & places[1] or places[0] & places[2] or places[1] & places[2])


@pytest.mark.parametrize(
    ("name", "ranks"),
    [("consistent", "falling"), ("reversed", "rising"), ("uniform", "level")],
)
def test_the_pool_falls_as_its_protocol_says(name, ranks):
    found = cut(short(f"digits-semi-{name}"), DIGITS, 3)
    labelled = np.array(found.parts.class_counts)
    counts = found.pool.labels.bincount(minlength=10).numpy()
    larger = labelled[:, None] > labelled
    gaps = counts[:, None] - counts
    if ranks == "level":
        assert set(counts) == {30}
    else:
        assert (gaps[larger] >= 0).all() if ranks == "falling" else (gaps[larger] <= 0).all()
        assert counts.max() == 90 and counts.min() == 4


def test_profiles_from_the_middle_and_from_both_ends():
    given = dict(ratio=1.0, strong="affine", n_max=16, factor=16.0)
    assert profile(Pool(profile="middle", **given), 5) == [2, 8, 16, 4, 1]
    assert profile(Pool(profile="head-tail", **given), 5) == [8, 2, 1, 4, 16]


def test_places_in_the_pool_tell_nothing():
    labels = cut(short(), DIGITS, 0).pool.labels
    assert not torch.equal(labels, labels.sort().values)
    again = cut(short(), DIGITS, 0).pool.labels
    assert torch.equal(labels, again)


def test_what_a_cell_is_given_holds_the_pools_labels_for_a_bound_alone():
    fixed = short()
    given = {n: divide(fixed, 0, DIGITS, frozenset({n})).given for n in ("pool", "pool_labels")}
    assert given["pool"].beside.labels is None
    assert torch.equal(given["pool_labels"].beside.labels, cut(fixed, DIGITS, 0).pool.labels)
    travelled = pickle.loads(pickle.dumps(given["pool"]))
    assert vars(travelled.beside).keys() == {"pool", "labels", "opened"}
    assert travelled.beside.labels is None
    assert torch.equal(travelled.beside.pool, given["pool"].beside.pool)


def test_plain_training_is_that_of_recognition_and_draws_nothing_from_the_pool():
    fixed = short()
    shared = {f: getattr(fixed, f) for f in Recognition.__struct_fields__ if hasattr(fixed, f)}
    mine = run(fixed, recipe("erm"), 0, DIGITS, CPU)
    theirs = recognise(Recognition(**shared), recipe("erm"), 0, DIGITS, CPU)
    assert np.array_equal(mine.arrays["predicted"], theirs.arrays["predicted"])
    assert np.array_equal(mine.arrays["confidence"], theirs.arrays["confidence"])
    assert mine.timing.passes == 1


def test_a_pool_that_teaches_nothing_leaves_plain_training():
    fixed = short()
    plain = run(fixed, recipe("erm"), 0, DIGITS, CPU)
    for idle in ("fixmatch(threshold=1.1)", "fixmatch(weight=0.0)"):
        found = run(fixed, recipe(idle), 0, DIGITS, CPU)
        assert np.array_equal(found.arrays["confidence"], plain.arrays["confidence"])
        assert np.array_equal(found.arrays["pool_predicted"], plain.arrays["pool_predicted"])


@pytest.mark.parametrize("text", ["fixmatch+darp", "self-training", "oracle", "acr"])
def test_one_seed_gives_the_same_bits(text):
    first, second = (run(short(), recipe(text), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(np.array_equal(first.arrays[n], second.arrays[n]) for n in first.arrays)


def test_a_step_passes_as_many_rows_of_the_pool_as_the_protocol_says():
    found = run(short(), recipe("fixmatch"), 0, DIGITS, CPU)
    assert found.timing.passes == 3  # one of a labelled row, two of the pool


def test_bounds_stand_outside_of_what_is_ranked():
    assert run(short(), recipe("oracle"), 0, DIGITS, CPU).control
    assert not run(short(), recipe("fixmatch"), 0, DIGITS, CPU).control


def test_the_oracle_trains_on_every_row():
    fixed = short()
    found = cut(fixed, DIGITS, 0)
    oracle = recipe("oracle").methods[0]
    at = probe_run(recipe("erm"), found.parts.class_counts, torch.float32)
    at.granted = granted(found)
    rows = oracle.resample(found.parts.train, at)
    assert len(rows) == 98 + 303
    assert torch.equal(rows.labels[98:], found.pool.labels)


def granted(found):
    return SemiGrants(pool=found.pool.inputs, ratio=1.0, view="affine", labels=found.pool.labels)


def test_generations_begin_anew_and_grow():
    class Watching(SemiSupervised):
        name = "watching"

        def __init__(self):
            self.entered = []

        def enter(self, train, run):
            self.entered.append((run.phase.role, len(train)))
            self.entered.append(run.model.head.weight.detach().clone())
            return train

        def __deepcopy__(self, memo):
            return self

    watch = Watching()
    run(short(epochs=20), Recipe(*recipe("fixmatch+crest").methods, watch), 0, DIGITS, CPU)
    roles = [told[0] for told in watch.entered[::2]]
    sizes = [told[1] for told in watch.entered[::2]]
    assert roles == ["main", *(f"main {g}" for g in range(2, 7))]
    assert sizes[0] == 98 and all(98 < size <= 98 + 303 for size in sizes[1:])


def test_self_training_adds_each_row_once_with_no_label_of_its_own():
    class Watching(SemiSupervised):
        name = "watching"
        rows = None

        def enter(self, train, run):
            type(self).rows = train
            return train

    made = run(short(), Recipe(*recipe("self-training").methods, Watching()), 0, DIGITS, CPU)
    found = cut(short(), DIGITS, 0)
    assert len(Watching.rows) == 98 + 303
    assert torch.equal(Watching.rows.inputs[98:], found.pool.inputs)
    assert not torch.equal(Watching.rows.labels[98:], found.pool.labels)
    assert made.timing.passes == 2


def test_means_of_weights_take_over_by_hand():
    model = torch.nn.Linear(1, 1, bias=False)
    at = Run(torch.ones(2), torch.ones(2), torch.zeros(()), Phase("main", 1, 0.1, 0.0), model=model)
    average = Average(0.9)
    for weight in (1.0, 2.0):  # as two steps begin
        model.weight.data.fill_(weight)
        average.follow(at)
    model.weight.data.fill_(3.0)  # as the second ends
    average.take_over(at)
    assert model.weight.item() == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 3)
    assert average.means is None


def test_a_protocol_of_mean_weights_scores_them_for_every_recipe():
    plain, mean = (short(epochs=10, ema=ema) for ema in (0.0, 0.9))
    for text in ("erm", "fixmatch", "crt"):
        first, second = (run(one, recipe(text), 0, DIGITS, CPU) for one in (plain, mean))
        assert not np.array_equal(first.arrays["confidence"], second.arrays["confidence"])


def test_a_training_with_means_and_a_table_resumes_to_the_same_bits():
    fixed, found = short(epochs=4, ema=0.9), cut(short(), DIGITS, 0)

    def trained(**given):
        pooled = Pooled(*recipe("fixmatch+darp(warmup=0.0)+crest(generations=2)").methods, ema=0.9)
        at = begin(fixed, found.parts, Beside(found.pool.inputs, None), 0, CPU)
        keeps = given.pop("keeps", None)
        if keeps is not None:
            given["checkpoint"] = lambda state: keeps.append(
                copy.deepcopy({**state, "hidden": method_state.told(pooled, at)})
            )
        model = engine.train(pooled, found.parts.train, at, 33, **given)
        return model.state_dict()

    states = []
    whole = trained(keeps=states)
    assert len(states) == 8 and all(state["hidden"] is not None for state in states)
    for state in (states[1], states[3], states[5], states[7]):
        again = trained(resume=state)
        assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_strong_views_are_images_of_the_same_kind():
    images = DIGITS.train.inputs[:20]
    chance = torch.Generator().manual_seed(0)
    found = affine(images, chance)
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1
    assert (found.flatten(1) == 0).any(dim=1).all()  # a square is cut out of each
    first, second = (
        strongly("affine", images, Views(), torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, second) and not torch.equal(first, found)
    colour = torch.rand(4, 3, 8, 8)
    assert strongly("siamese", colour, Views(), chance).shape == colour.shape


def test_measures_of_the_pool_by_hand():
    labels, predicted = np.array([0, 0, 0, 1, UNKNOWN]), np.array([0, 0, 1, 1, 0])
    found = of_pool({"pool_labels": labels, "pool_predicted": predicted}, 2)
    assert found == {"pool_balanced_accuracy": pytest.approx((2 / 3 + 1) / 2), "pool_shift": 0.25}
    nothing = of_pool({"pool_labels": labels[4:], "pool_predicted": predicted[4:]}, 2)
    assert nothing == {"pool_balanced_accuracy": None, "pool_shift": None}


# Classes that only the pool has.


def with_pool(**keys):
    fixed = short()
    return structs.replace(fixed, pool=structs.replace(fixed.pool, **keys))


def test_unknown_classes_stand_in_the_pool_alone():
    fixed = with_pool(unknown=("8", "9"), unknown_rows=40)
    (source,) = load(installed(), fixed).values()
    found = cut(fixed, source, 0)
    assert source.classes == tuple("01234567")
    assert (found.pool.labels == UNKNOWN).sum() == 40
    assert len(found.parts.class_counts) == 8
    outcome = run(fixed, recipe("fixmatch"), 0, source, CPU)
    assert 0 <= outcome.measures["pool_balanced_accuracy"] <= 1
    assert run(fixed, recipe("oracle"), 0, source, CPU).measures["balanced_accuracy"] > 0.1


def test_unknown_classes_that_leave_too_few_are_refused():
    with pytest.raises(LTBenchError, match="9 unknown classes of 10 leave 1 known; leave two"):
        load(installed(), with_pool(unknown=tuple("123456789"), unknown_rows=10))
    with pytest.raises(LTBenchError, match="digits has no class 'ten', which the pool names"):
        load(installed(), with_pool(unknown=("ten",), unknown_rows=10))
    fixed = with_pool(unknown=("9",), unknown_rows=10_000)
    (source,) = load(installed(), fixed).values()
    with pytest.raises(LTBenchError, match="have 130 rows beside those that are tested; the pool"):
        cut(fixed, source, 0)


def numbered(rows):
    """The same labels, each row an image full of its own number."""
    images = torch.arange(float(len(rows))).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    return Rows(images, rows.labels)


@pytest.mark.parametrize("own_split", [False, True])
def test_tested_rows_of_unknown_classes_stand_nowhere_else(own_split):
    class Own(Finder):
        def dataset(self, name):
            rows = numbered(DIGITS.train)
            test = rows[torch.arange(1700, 1797)] if own_split else None
            train = rows[torch.arange(1700)] if own_split else rows
            return lambda: Dataset(train, DIGITS.classes, test)

    fixed = with_pool(unknown=("8", "9"), unknown_rows=40)
    held = None if own_split else 50
    data = structs.replace(fixed.data, fingerprint="any", test_per_class=held)
    fixed = structs.replace(fixed, data=data)
    (source,) = load(Own(None), fixed).values()
    tested = []
    for seed in (0, 1):
        found = cut(fixed, source, seed)
        parts = (found.unknown, found.pool, found.parts.train, found.parts.test())
        places = [set(part.inputs[:, 0, 0, 0].long().tolist()) for part in parts]
        assert len(places[0]) == len(found.unknown) == (19 if own_split else 100)
        assert not places[0] & (places[1] | places[2] | places[3])
        assert {DIGITS.train.labels[place].item() for place in places[0]} == {8, 9}
        assert (found.unknown.labels == UNKNOWN).all()
        tested.append(places[0])
    assert tested[0] == tested[1]


def test_measures_of_unknown_rows_by_hand():
    arrays = {
        "labels": np.array([0, 0, 1]),
        "unknown": np.array([0.1, 0.6, 0.2, 0.6, 0.9], dtype=np.float32),
        "open_predicted": np.array([0, 2, 0, 2, 1]),
    }
    found = open_set.scored(arrays, 2)
    # of six pairs the unknown row is the likelier in five, and one is a tie
    assert found["unknown_auroc"] == pytest.approx(5.5 / 6)
    assert found["open_balanced_accuracy"] == pytest.approx((1 / 2 + 0 + 1 / 2) / 3)
    assert open_set.scored({"labels": arrays["labels"]}, 2) == {}


class Doubts(SemiSupervised):
    """Takes every row for one of an unknown class, and all alike."""

    name = "doubts"

    def opened(self, output, run):
        return torch.tensor([0.2, 0.2, 0.6]).expand(len(output.features), -1)


def test_what_is_unknown_is_said_by_a_method_or_by_how_sure_a_network_is():
    run, model = probe_run(Pooled(), (20, 20), torch.float32), torch.nn.Module()
    labelled, asked = rows_of((20, 20)).inputs, rows_of((20, 20), seed=1).inputs
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.head = torch.nn.Linear(labelled[0].numel(), 2)
    model.features = torch.nn.Flatten()
    likely, open_labels = open_set.openness(Pooled(), model, labelled, asked, run)
    scores = model.head(asked.flatten(1)).detach().double().softmax(dim=1)
    assert torch.allclose(likely, 1 - scores.max(dim=1).values)
    there = 1 - model.head(labelled.flatten(1)).detach().double().softmax(dim=1).max(dim=1).values
    limit = np.quantile(there.numpy(), 0.95)
    expected = np.where(likely.numpy() <= limit, scores.argmax(dim=1).numpy(), 2)
    assert open_labels.tolist() == expected.tolist() and 0 < (open_labels == 2).sum() < 20
    likely, open_labels = open_set.openness(Pooled(Doubts()), model, labelled, asked, run)
    assert (likely == 0.6).all() and (open_labels == 2).all()


def test_a_cell_of_unknown_classes_keeps_what_its_measures_follow_from():
    fixed = short("digits-semi-unknown")
    (source,) = load(installed(), fixed).values()
    track = installed().track("semi")
    for text in ("erm", "iomatch"):
        outcome = run(fixed, recipe(text), 0, source, CPU)
        assert len(outcome.arrays["unknown"]) == len(outcome.arrays["labels"]) + 100
        again = open_set.scored(outcome.arrays, 8)
        assert again.items() <= outcome.measures.items()
        assert set(again) <= {measure.name for measure in track.measures}
        assert 0 < again["unknown_auroc"] < 1


# A pool of another source.


class Finder:
    """A registry of two sources."""

    def __init__(self, pool):
        self.data, self.pool = {}, pool

    def dataset(self, name):
        return (lambda: DIGITS) if name == "digits" else (lambda: self.pool)


def elsewhere(fingerprint="any"):
    given = protocol("digits-semi-consistent")
    pool = Pool(
        profile="source", ratio=2.0, strong="affine", source="mine", fingerprint=fingerprint
    )
    return structs.replace(given, pool=pool)


def mine(rows=None, classes=("0", "x")):
    rows = rows_of([5, 6]) if rows is None else rows
    return Dataset(rows, classes)


def test_a_pool_of_another_source_knows_classes_by_their_names():
    (source,) = load(Finder(mine()), elsewhere()).values()
    assert isinstance(source, Source)
    found = cut(elsewhere(), source, 0).pool
    assert sorted(found.labels.tolist()) == [UNKNOWN] * 6 + [0] * 5


def test_a_pool_that_has_labelled_rows_is_refused_with_their_numbers():
    labelled = cut(short(), DIGITS, 0).parts.train
    rows = rows_of([5, 6])
    rows.inputs[3] = labelled.inputs[7]
    (source,) = load(Finder(mine(rows)), elsewhere()).values()
    with pytest.raises(LTBenchError, match="1 rows of pool mine are labelled rows: row "):
        cut(elsewhere(), source, 0)
    with pytest.raises(LTBenchError, match="row 3 of the pool is labelled row 7; take them out"):
        refuse_overlap(elsewhere().pool, labelled, rows)
    many = labelled[torch.arange(5)]
    with pytest.raises(LTBenchError, match="5 rows of pool mine .* and others; take"):
        refuse_overlap(elsewhere().pool, labelled, many)


def test_a_pool_of_another_source_without_rows_or_of_another_kind_is_refused():
    none = rows_of([5, 6])[torch.arange(0)]
    with pytest.raises(LTBenchError, match="pool mine has no rows; a pool of none teaches"):
        load(Finder(mine(none)), elsewhere())
    wide = Rows(torch.zeros(2, 1, 9, 9), torch.tensor([0, 1]))
    with pytest.raises(LTBenchError, match=r"\[1, 9, 9\], but labelled rows are .*\[1, 8, 8\]"):
        load(Finder(mine(wide)), elsewhere())
    with pytest.raises(LTBenchError, match="these are other rows"):
        load(Finder(mine()), elsewhere(fingerprint="0123456789abcdef"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("n_max = 0", "a pool of no rows teaches nothing; state n_max of 1 or more"),
        ("ratio = 0", "ratio"),
        ('profile = "uniform"', "profile 'uniform' has no factor"),
        ('profile = "source"', "profile 'source' needs fingerprint and source alone"),
        ('unknown = ["9"]', "unknown needs unknown_rows of 1 or more"),
        ('strong = "loud"', "strong"),
    ],
)
def test_protocols_of_impossible_pools_are_refused(tmp_path, lines, message):
    file = tmp_path / "mine.toml"
    head = 'base = "digits-semi-consistent"\nname = "mine"\nversion = 1\ndescription = "Mine."\n'
    file.write_text(f"{head}[pool]\n{lines}\n")
    with pytest.raises(LTBenchError, match=message) as refusal:
        protocol(str(file))
    assert len(str(refusal.value).splitlines()) <= 2


def test_a_pool_larger_than_its_source_is_refused():
    with pytest.raises(LTBenchError, match=r"rows beside those that are labelled .* asks for 900"):
        cut(with_pool(n_max=900, factor=1.0, profile="uniform"), DIGITS, 0)


def test_methods_that_need_a_pool_are_refused_elsewhere():
    with pytest.raises(Unmet, match="supplies no pool; fixmatch needs that"):
        recognise(protocol("digits-lt"), recipe("fixmatch"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="supplies no pool_labels; oracle needs that"):
        recognise(protocol("digits-lt"), recipe("oracle"), 0, DIGITS, CPU)


# The checks see what they are to see.


class Peeks(SemiSupervised):
    """Learns by the labels of the pool, which somebody left in a wrong place."""

    name = "peeks"
    needs = frozenset({POOL})
    left = None

    def resample(self, train, run):
        known = Peeks.left if Peeks.left is not None else torch.zeros(len(run.granted.pool)).long()
        inputs = torch.cat([train.inputs, run.granted.pool])
        return Rows(inputs, torch.cat([train.labels, known]))


def test_the_check_of_withheld_labels_sees_one_that_peeks(monkeypatch):
    true = checks.of_cut

    def leaking(protocol, seed, rows, *given):
        Peeks.left = rows.pool.labels
        return true(protocol, seed, rows, *given)

    checks.withheld_labels_change_nothing(Recipe(Peeks()))
    monkeypatch.setattr(checks, "of_cut", leaking)
    with pytest.raises(Failure, match="labels of the pool are withheld"):
        checks.withheld_labels_change_nothing(Recipe(Peeks()))


def test_the_check_of_test_rows_sees_one_in_the_pool(monkeypatch):
    true = checks.run

    def straying(protocol, recipe, seed, dataset, device):
        marked = replace(dataset.train, inputs=torch.full_like(dataset.train.inputs, 1000.0))
        source = Dataset(marked, dataset.classes)
        data = structs.replace(protocol.data, fingerprint="any")
        return true(structs.replace(protocol, data=data), recipe, seed, source, device)

    monkeypatch.setattr(checks, "run", straying)
    with pytest.raises(Failure, match="held-out ones reached"):
        checks.test_rows_stay_out(recipe("fixmatch"))


class Knows(SemiSupervised):
    """Has the labels of test rows from somewhere, and decides by the first."""

    name = "knows"
    needs = frozenset({POOL})
    labels = ()

    def decide(self, scores, run):
        return (scores.argmax(dim=1) + self.labels[0]) % scores.shape[1]


def test_false_labels_of_test_rows_change_what_somebody_decides_who_has_them(monkeypatch):
    plain = checks.run

    def watched(protocol, recipe, seed, dataset, device):
        Knows.labels = dataset.test.labels
        return plain(protocol, recipe, seed, dataset, device)

    checks.decoys_change_nothing(recipe("fixmatch"))
    monkeypatch.setattr(checks, "run", watched)
    with pytest.raises(Failure, match="changed with the order and the labels"):
        checks.decoys_change_nothing(Recipe(Knows()))
