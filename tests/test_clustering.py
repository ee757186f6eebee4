"""Clustering: how rows are cut, what is withheld, the encoder, marks of clusters, bad input."""

import copy
import pickle

import numpy as np
import pytest
import torch
from msgspec import structs
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from ltbench import LTBenchError, Recipe, Rows, Unmet, protocol, recipe
from ltbench.datasets import Dataset, built_in
from ltbench.registry.registry import installed
from ltbench.testing.report import Failure
from ltbench.tracks.clustering import checks
from ltbench.tracks.clustering.contract import UNKNOWN, Clustering, ClusteringGrants
from ltbench.tracks.clustering.cutting import cut
from ltbench.tracks.clustering.encoder import encoder_of, nearest
from ltbench.tracks.clustering.problem import Clusters, Known
from ltbench.tracks.clustering.scores import (
    information,
    of_clusters,
    rand_index,
    size_error,
    table,
)
from ltbench.tracks.clustering.track import answer, divide, measured, run

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "clustering"]
NONE = np.zeros(4, dtype=bool)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))


def short(name="digits-clusters-10", **more):
    given = protocol(name)
    encoder = structs.replace(given.encoder, epochs=2, views=3)
    return structs.replace(
        given, encoder=encoder, budget=structs.replace(given.budget, epochs=3), **more
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


def test_the_pool_has_no_row_that_is_tested_on_and_tells_nothing_by_its_order():
    numbered = torch.arange(float(len(DIGITS.train))).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    rows = Dataset(Rows(numbered, DIGITS.train.labels), DIGITS.classes)
    fixed = short()
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))
    found = cut(fixed, rows, 0)
    places = [set(part.inputs[:, 0, 0, 0].tolist()) for part in (found.pool, found.parts.test())]
    assert [*map(len, places)] == [609, 240] and not places[0] & places[1]
    assert sorted(found.pool.labels.bincount().tolist())[::9] == [15, 150]
    assert not torch.equal(found.pool.labels, found.pool.labels.sort().values)
    assert (found.told == UNKNOWN).all() and found.known == []


def test_half_the_rows_of_known_classes_are_told_and_no_other():
    fixed = short("digits-discovery-5")
    for seed in (0, 1):
        found = cut(fixed, DIGITS, seed)
        assert len(found.known) == 5
        for place, c in enumerate(found.known):
            mine = found.pool.labels == c
            assert (found.told[mine] == place).sum() == int(mine.sum()) // 2
            assert set(found.told[mine].tolist()) == {place, UNKNOWN}
        new = torch.tensor([c not in found.known for c in found.pool.labels.tolist()])
        assert (found.told[new] == UNKNOWN).all()
    assert cut(fixed, DIGITS, 0).known != cut(fixed, DIGITS, 1).known


def test_what_a_cell_is_given_holds_no_label_that_is_withheld():
    clusters = pickle.loads(pickle.dumps(divide(short(), 0, DIGITS, frozenset()).given))
    assert vars(clusters.beside).keys() == {"pool", "told"}
    assert (clusters.beside.told == UNKNOWN).all() and not len(clusters.train)
    assert clusters.class_counts == [0] * 10
    fixed = short("digits-discovery-5")
    given = divide(fixed, 0, DIGITS, frozenset()).given
    told = given.beside.told
    assert torch.equal(told, cut(fixed, DIGITS, 0).told)
    assert given.class_counts == [*torch.bincount(told[told >= 0]).tolist(), *[0] * 5]


class Watching(Clustering):
    name = "watching"
    needs = frozenset({"rows_to_cluster"})

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def unlabelled_loss(self, first, second, rows, run):
        self.seen.append((run.counts.clone(), run.seen.clone(), first, second, rows))
        return sum(head.sum() for view in (first, second) for head in view.heads) * 0


def test_clusters_know_no_counts_and_learn_from_no_label():
    watch = Watching()
    made = run(short(), Recipe(watch), 0, DIGITS, CPU)
    assert len(watch.seen) == 3
    counts, seen, first, second, rows = watch.seen[0]
    assert torch.equal(counts, torch.full((10,), 60.9)) and torch.equal(seen, counts / 609)
    assert torch.equal(rows, torch.arange(609))
    assert first.heads[0].shape == second.heads[0].shape == (609, 10)
    assert not torch.equal(first.features, second.features)
    assert made.timing.passes == 3  # the rows in the engine's hands, and two views


def test_a_step_takes_rows_without_replacement():
    granted = ClusteringGrants(
        pool=torch.zeros(9, 1),
        labels=torch.full((9,), UNKNOWN),
        views=torch.arange(3.0).view(3, 1, 1).expand(3, 9, 1),
        rows=5,
    )
    rows, first, second = granted.drawn(torch.Generator().manual_seed(0))
    assert len(set(rows.tolist())) == 5 and (first != second).all()


def test_discovery_learns_from_labels_beside_the_pool():
    fixed = short("digits-discovery-5")
    plain = run(fixed, recipe("erm"), 0, DIGITS, CPU)
    beside = run(fixed, Recipe(Watching()), 0, DIGITS, CPU)
    # a loss of 0 on the pool leaves plain training, however many rows pass
    assert np.array_equal(plain.arrays["pool_clusters"], beside.arrays["pool_clusters"])
    assert plain.timing.passes == 1
    weighed = run(fixed, recipe("p2ot+logit-adjustment+focal"), 0, DIGITS, CPU)
    assert 0 <= weighed.measures["new"] <= 1


@pytest.mark.parametrize("text", ["bacon", 'protogcd(prior="estimated")'])
@pytest.mark.parametrize("name", ["digits-clusters-10", "digits-discovery-5"])
def test_what_estimates_sizes_does_so_with_and_without_known_classes(text, name):
    found = run(short(name), recipe(text), 0, DIGITS, CPU).measures
    assert 0 < found["nmi"] < 1 and (found["new"] is None) == (name == "digits-clusters-10")


def test_what_clusters_at_the_end_goes_with_what_learns_in_any_order():
    first, second = (
        run(short(), recipe(text), 0, DIGITS, CPU) for text in ("p2ot+k-means", "k-means+p2ot")
    )
    assert np.array_equal(first.arrays["pool_clusters"], second.arrays["pool_clusters"])


@pytest.mark.parametrize("text", ["k-means", "spherical-k-means", "sp2ot", "k-means+simgcd"])
def test_one_seed_gives_the_same_bits_with_an_encoder_made_or_read(text):
    first, second = (run(short(), recipe(text), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(np.array_equal(first.arrays[n], second.arrays[n]) for n in first.arrays)


def test_the_encoder_is_one_a_seed_and_knows_the_rows_alone(tmp_path):
    fixed, pool = short(), cut(short(), DIGITS, 0).pool.inputs
    first, again = (encoder_of(fixed, pool, 0, CPU) for _ in range(2))
    assert torch.equal(first(pool), again(pool))
    other = encoder_of(fixed, pool, 1, CPU)
    assert not torch.equal(first(pool), other(pool))
    assert len([*(tmp_path / "cache" / "encoders").glob("*.pt")]) == 2
    features = first(pool)
    assert features.mean(dim=0).abs().max() < 1e-4
    assert features.square().mean().item() == pytest.approx(1, abs=1e-4)
    assert first.stored(fixed, pool, 0).shape == (3, *features.shape)


def test_views_of_one_row_are_to_be_nearest_by_hand():
    views = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    expected = -np.log(np.exp(2) / (np.exp(2) + 2))
    assert nearest(3 * views, 0.5).item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(
        lambda x: nearest(x, 0.5), (views + 0.1 * torch.arange(8.0).view(4, 2)).requires_grad_()
    )


# How clusters are marked.


def random_pairs(seed, rows=200, classes=7):
    chance = np.random.RandomState(seed)
    labels = chance.randint(classes, size=rows)
    return labels, np.where(chance.rand(rows) < 0.6, (labels + 2) % classes, labels // 2)


@pytest.mark.parametrize("seed", range(3))
def test_information_and_pairs_are_those_of_scikit_learn(seed):
    labels, clusters = random_pairs(seed)
    counts = table(labels, clusters, 7)
    assert information(counts) == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert rand_index(counts) == pytest.approx(adjusted_rand_score(labels, clusters))


def test_numbers_of_clusters_change_no_mark():
    labels, clusters = random_pairs(0)
    order = np.random.RandomState(1).permutation(7)
    known = np.arange(7) < 3
    first, second = (of_clusters(labels, one, known) for one in (clusters, order[clusters]))
    assert first == pytest.approx(second)


def test_names_of_classes_change_no_mark():
    labels, clusters = random_pairs(1)
    order = np.random.RandomState(2).permutation(7)
    known = np.arange(7) < 3
    again = of_clusters(order[labels], clusters, known[order.argsort()])
    assert again == pytest.approx(of_clusters(labels, clusters, known))


def test_marks_at_their_ends():
    labels = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    same = of_clusters(labels, (labels + 1) % 4, NONE)
    assert same["size_error"] == 0 and same["old"] is same["new"] is None
    assert all(
        same[name] == pytest.approx(1)
        for name in ("nmi", "ari", "matched_accuracy", "matched_balanced_accuracy", "matched_f1")
    )
    one = of_clusters(labels, np.zeros(8, dtype=int), NONE)
    assert one["matched_accuracy"] == 3 / 8 and one["nmi"] == one["ari"] == 0
    assert one["matched_balanced_accuracy"] == 1 / 4
    assert size_error(labels, np.zeros(8, dtype=int), 4) == (5 + 2 + 2 + 1) / 8
    assert information(np.diag([3.0, 0, 0])) == 1 == rand_index(np.diag([3.0, 0, 0]))


def test_old_and_new_are_marked_by_one_matching():
    labels, clusters = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 2])
    told = of_clusters(labels, clusters, np.array([True, True, False]))
    assert (told["old"], told["new"]) == (0.75, 1.0)


def test_test_rows_are_called_as_the_clustered_rows_were():
    divided = divide(short(), 0, DIGITS, frozenset())
    made = answer(short(), recipe("k-means"), 0, divided.given, divided.ask, CPU)
    found = divided.mark(made)
    turned = copy.copy(made)
    order = torch.arange(10).roll(3)
    vars(turned).update(predicted=order[made.predicted], scores=made.scores[:, order.argsort()])
    again = divided.mark(turned)
    assert again.measures == pytest.approx(found.measures)
    assert np.array_equal(again.arrays["predicted"], found.arrays["predicted"])
    counts = table(found.arrays["pool_labels"].astype(int), found.arrays["pool_clusters"], 10)
    assert counts.sum() == 609


@pytest.mark.parametrize("name", ["digits-clusters-10", "digits-discovery-5"])
def test_measures_follow_from_what_a_record_keeps(name):
    fixed = short(name)
    outcome = run(fixed, recipe("k-means"), 0, DIGITS, CPU)

    class Record:
        class_counts = outcome.class_counts

    followed = measured(fixed, Record, outcome.arrays)
    names = {measure.name for measure in installed().track("clustering").measures}
    assert set(outcome.measures) <= names
    for measure, value in outcome.measures.items():
        if followed[measure] is None:
            assert value is None
        else:
            assert followed[measure][0] <= value <= followed[measure][1]


# The checks find what they are for.


class Peeks(Clustering):
    """Reads withheld labels, if there were a way."""

    name = "peeks"
    needs = frozenset({"rows_to_cluster"})

    def unlabelled_loss(self, first, second, rows, run):
        return first.heads[0].sum() * 0


def test_checks_find_withheld_labels_that_are_told(monkeypatch):
    honest = Recipe(*recipe("k-means").methods)
    checks.withheld_labels_change_nothing(honest)
    given = checks.of_cut

    def told(protocol, seed, rows, classes):
        leaking = checks.Cut(rows.parts, rows.pool, rows.pool.labels.clone(), rows.known)
        return given(protocol, seed, leaking, classes)

    monkeypatch.setattr(checks, "of_cut", told)
    with pytest.raises(Failure, match="these labels are withheld"):
        checks.withheld_labels_change_nothing(Recipe(*recipe("simgcd").methods))


def test_checks_find_test_rows_that_are_given(monkeypatch):
    checks.test_rows_stay_out(Recipe(Peeks()))

    def leaking(protocol, dataset, seed):
        found = cut(protocol, dataset, seed)
        return checks.Cut(found.parts, found.parts.test(), found.told, found.known)

    monkeypatch.setattr(checks, "cut", leaking)
    with pytest.raises(Failure, match="held-out ones reached what a cell is given"):
        checks.test_rows_stay_out(Recipe(Peeks()))


# Bad input.


def test_what_tells_no_label_refuses_what_learns_from_labels():
    with pytest.raises(Unmet) as refusal:
        run(short(), recipe("erm"), 0, DIGITS, CPU)
    assert str(refusal.value) == "erm learns from labels alone; digits-clusters-10 tells none"
    with pytest.raises(Unmet) as refusal:
        run(short(), recipe("p2ot+logit-adjustment"), 0, DIGITS, CPU)
    assert str(refusal.value) == (
        "logit-adjustment overrides adjust, which acts on labels; digits-clusters-10 tells none"
    )


def test_known_classes_that_leave_none_are_refused():
    fixed = short("digits-discovery-5", known=Known(10, 0.5))
    with pytest.raises(LTBenchError) as refusal:
        cut(fixed, DIGITS, 0)
    assert str(refusal.value) == (
        "digits-discovery-5: 10 known classes of 10 leave none to discover; state known.classes of "
        "9 or less"
    )


def test_a_share_of_known_rows_that_is_none_is_refused():
    fixed = short("digits-discovery-5", known=Known(9, 0.01))
    with pytest.raises(LTBenchError, match="a share of 0.01 of the .* rows of class . is none"):
        cut(fixed, DIGITS, 0)


@pytest.mark.parametrize(
    ("table", "keys", "told"),
    [
        ("data", {"label_noise": 0.1}, "label_noise is not for this track"),
        ("data", {"validation_share": 0.1}, "validation_share is not for this track"),
        ("budget", {"augmentation": "shift"}, "augmentation must be none"),
    ],
)
def test_keys_that_mean_nothing_here_are_refused(table, keys, told):
    fixed = protocol("digits-clusters-10")
    content = {f: getattr(fixed, f) for f in Clusters.__struct_fields__}
    with pytest.raises(ValueError, match=told):
        Clusters(**{**content, table: structs.replace(content[table], **keys)})


def test_a_method_with_no_head_is_refused_by_its_type():
    for text in ("p2ot(heads=0)", "k-means(starts=0)", "sp2ot(neighbours=0)", "protogcd(prior=1)"):
        with pytest.raises(LTBenchError):
            recipe(text)


def test_rows_that_are_no_images_are_refused_in_a_line():
    rows = Rows(torch.zeros(1797, 64), DIGITS.train.labels)
    fixed = short()
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))
    with pytest.raises(LTBenchError) as refusal:
        installed().track("clustering").plan(fixed, {"": Dataset(rows, DIGITS.classes)}, CPU)
    assert str(refusal.value) == (
        "a row of digits is [64]; digits-clusters-10 turns images [C, H, W] into strong views"
    )
