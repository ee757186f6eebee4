"""The track of federated learning: its protocols, clients, rounds, attackers and measures."""

import copy
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from ltbench import LTBenchError, Method, Recipe, Unmet, protocol, recipe
from ltbench.commands.main import main
from ltbench.datasets import built_in
from ltbench.results.records import arrays_of, read_all
from ltbench.running.answers import packed, unpacked
from ltbench.tracks.federated.contract import Federating, Update, averaged, last_layer, mean_of
from ltbench.tracks.federated.declaration import FederatedTrack
from ltbench.tracks.federated.division import cuts, divided
from ltbench.tracks.federated.problem import Federation
from ltbench.tracks.federated.scores import expected_accuracy, over_own, scored_clients
from ltbench.tracks.federated.track import (
    answer,
    attacked,
    divide,
    federated,
    measured,
    owned,
    rates,
    run,
)

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = (
    *("digits-federated", "digits-federated-01", "mnist-federated", "digits-peers"),
    *("digits-peers-none", "digits-peers-turned", "cifar10-jpeg-federated-short"),
    *(f"cifar10-federated-lt-{factor}" for factor in (10, 50, 100)),
    "cifar100-federated-lt-100",
)

HEAD = """
base = "digits-federated"
name = "small"
version = 1
description = "Few clients and rounds."

[budget]
epochs = 2

[network]
name = "mlp"
widths = [16]
"""
FEW = """
[federation]
clients = 4
rounds = 2
alpha = 0.5
least = 5
"""


@pytest.fixture
def small(tmp_path):
    """A protocol of small digits, with a federation of its own and more keys at its end."""

    def make(federation="", after="", name="small"):
        path = tmp_path / f"{name}.toml"
        path.write_text(HEAD + FEW + federation + after)
        return protocol(path)

    return make


def changed(given, table, **keys):
    inner = msgspec.structs.replace(getattr(given, table), **keys)
    return msgspec.structs.replace(given, **{table: inner})


def taught(given, text, seed=0):
    """What a federation on digits comes to, as it stands before test rows are asked."""
    made = recipe(text) if isinstance(text, str) else text
    return federated(given, made, seed, divide(given, seed, DIGITS).given, CPU)


def refused(path, told, *options):
    """A command that ends with two lines at most, and which."""
    result = CliRunner().invoke(main, ["run", str(path), *options])
    assert result.exit_code == 2, result.output
    assert told in " ".join(result.output.split()) and "Traceback" not in result.output


# Protocols and how rows are divided.


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_protocol_is_read_and_names_recipes_that_exist(name):
    given = protocol(name)
    assert given.track == "federated"
    assert all(recipe(text) for text in given.recipes)


@pytest.mark.parametrize(
    "federation",
    [
        {"alpha": 0.5, "least": 5},
        {"alpha": 0.5, "division": "drawn"},
        {"alpha": 0.5, "division": "equal"},
        {"division": "classes", "classes": 3},
    ],
    ids=["cut", "drawn", "equal", "classes"],
)
def test_every_row_has_one_client_and_a_seed_gives_one_division(federation):
    labels = np.repeat(np.arange(6), [200, 100, 50, 40, 30, 20])
    one = Federation(clients=10, rounds=1, **federation)
    clients = divided(one, labels, 6, 3)
    assert sorted(np.concatenate(clients).tolist()) == list(range(len(labels)))
    again, other = divided(one, labels, 6, 3), divided(one, labels, 6, 4)
    assert all(map(np.array_equal, clients, again))
    assert not all(map(np.array_equal, clients, other))


def test_divisions_keep_what_they_promise():
    labels = np.repeat(np.arange(6), [200, 100, 50, 40, 30, 20])
    least = divided(Federation(clients=10, rounds=1, alpha=0.3, least=9), labels, 6, 0)
    assert min(map(len, least)) >= 9
    equals = divided(Federation(clients=12, rounds=1, alpha=0.5, division="equal"), labels, 6, 0)
    assert {len(rows) for rows in equals} <= {36, 37}
    three = Federation(clients=10, rounds=1, division="classes", classes=3)
    classes = [set(labels[rows]) for rows in divided(three, labels, 6, 0)]
    assert {len(one) for one in classes} == {3}
    assert {sum(c in one for one in classes) for c in range(6)} == {5}


def test_more_concentration_makes_clients_more_alike():
    labels = np.repeat(np.arange(5), 100)

    def spread(alpha):
        clients = divided(Federation(clients=5, rounds=1, alpha=alpha), labels, 5, 0)
        return np.std([np.bincount(labels[rows], minlength=5) for rows in clients])

    assert spread(0.1) > spread(1.0) > spread(100.0)


def test_shares_are_cut_where_their_sums_end():
    class Chance:
        def dirichlet(self, alpha, size):
            shares = np.zeros((*size, 2))
            shares[:] = 0.05, 0.95
            shares[7] = 0.25, 0.75  # the first draw that leaves both three rows
            return shares

    borders = cuts(np.array([8, 4]), 0.5, 2, 3, Chance())
    assert borders.tolist() == [[2], [1]]
    assert cuts(np.array([8, 4]), 0.5, 2, 6, Chance()) is None


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("clients = 1\nrounds = 2\nalpha = 0.5\n", "clients"),
        ("clients = 4\nrounds = 2\n", "division 'cut' does not go with alpha None"),
        ("clients = 4\nrounds = 2\nalpha = 0.5\nclasses = 2\n", "classes are for division"),
        ('clients = 4\nrounds = 2\ndivision = "classes"\n', "classes are for division 'classes'"),
        (
            'clients = 4\nrounds = 2\nalpha = 0.5\ndivision = "drawn"\nleast = 3\n',
            "least is for division 'cut'; others keep to no least number",
        ),
        (
            "clients = 4\nrounds = 2\nalpha = 0.5\nattackers = 4\n",
            "of 4 clients, 4 cannot be attackers",
        ),
        (
            'clients = 4\nrounds = 2\nalpha = 0.5\ntopology = "peers"\nchosen = 0.5\n',
            "peers all train in each round; leave chosen out",
        ),
        ("clients = 4\nrounds = 2\nalpha = 0.5\nchosen = 0.0\n", "chosen"),
        ("clients = 4\nrounds = 2\nalpha = -1.0\n", "alpha"),
        ('clients = 4\nrounds = 2\nalpha = 0.5\ntopology = "ring"\n', "ring"),
    ],
)
def test_a_federation_that_is_none_is_told_in_a_line(lines, told):
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.toml.decode(lines, type=Federation)


def test_such_a_federation_in_a_file_ends_a_command_in_two_lines(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(HEAD + FEW + "attackers = 4\n")
    refused(path, "of 4 clients, 4 cannot be attackers")


def test_shares_that_cannot_leave_everybody_rows_say_how_many_clients_can(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(HEAD + "[federation]\nclients = 60\nrounds = 2\nalpha = 0.05\nleast = 5\n")
    with pytest.raises(LTBenchError) as error:
        owned(protocol(path), divide_parts(protocol("digits-federated")), 10, 0)
    assert "alpha 0.05 leaves one of 60 clients fewer than 5 of 405 rows" in str(error.value)
    most = int(str(error.value).split("at most ")[1].split()[0])
    fewer = changed(protocol(path), "federation", clients=most)
    assert min(map(len, owned(fewer, divide_parts(fewer), 10, 0))) >= 5
    refused(path, "clients can have that: take so many, or a larger alpha")


def divide_parts(given):
    from ltbench.tracks.classification import split

    return split(given, DIGITS, 0)


def test_two_clients_may_be_too_many():
    one = Federation(clients=3, rounds=1, alpha=0.5, least=9)
    with pytest.raises(LTBenchError, match="not even two clients can have that"):
        divided(one, np.repeat(np.arange(2), 5), 2, 0)


def test_classes_that_nobody_could_have_are_refused():
    labels = np.repeat(np.arange(6), 4)
    with pytest.raises(LTBenchError, match="leave some of 6 classes with nobody"):
        divided(Federation(clients=2, rounds=1, division="classes", classes=2), labels, 6, 0)
    with pytest.raises(LTBenchError, match="a client cannot have 7 of 6 classes"):
        divided(Federation(clients=2, rounds=1, division="classes", classes=7), labels, 6, 0)
    with pytest.raises(LTBenchError, match="division 'equal' makes 10 parts at a time; 4 are too"):
        divided(Federation(clients=4, rounds=1, alpha=0.5, division="equal"), labels, 6, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fine-tune", "supplies no clients; fine-tune needs that, so this cell is skipped"),
        ("erm+fedloge", "supplies no clients; fedloge needs that, so this cell is skipped"),
        ("bristle", "supplies no peers; bristle needs that, so this cell is skipped"),
    ],
)
def test_without_clients_what_acts_between_them_is_skipped_in_a_line(text, told):
    from ltbench.tracks.recognition import track as recognition

    with pytest.raises(Unmet, match=told):
        recognition.refuse_unmet(protocol("digits-lt"), recipe(text), 10)


def test_over_a_server_nobody_is_a_peer_and_there_are_no_phases(small):
    for text, told in (
        ("bristle", "small supplies no peers; bristle needs that"),
        ("crt", "crt edits the phases of training; small has a phase for each client and round"),
    ):
        with pytest.raises(Unmet, match=told):
            run(small(), recipe(text), 0, DIGITS, CPU)


def test_two_ways_to_aggregate_are_a_conflict_that_is_named():
    with pytest.raises(LTBenchError, match="krum and median both aggregate what clients send"):
        recipe("krum+median")


# Rounds.


def test_averages_are_by_rows_and_do_not_mind_an_order():
    states = [
        {"w": torch.tensor([value]), "n": torch.tensor(n)} for value, n in ((1.0, 3), (4.0, 8))
    ]
    sent = [
        Update(k, state, rows) for k, (state, rows) in enumerate(zip(states, (2, 1), strict=True))
    ]
    found = averaged(sent)
    assert found["w"].tolist() == [2.0] and found["n"].item() == 4  # 14 / 3, rounded down
    turned = averaged(sent[::-1])
    assert turned["w"].tolist() == [2.0]
    assert mean_of(states, [1, 1])["w"].tolist() == [2.5]
    assert mean_of(states, [1, 0])["w"].tolist() == [1.0]


def test_rates_fall_over_rounds_and_stay_within(small):
    five = changed(small(), "federation", rounds=4)
    assert rates(five) == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    steps = changed(five, "budget", decay="steps", milestones=(0.5,), factors=(0.1,))
    assert rates(steps) == [1, 1, 0.1, 0.1]


class Noting(Federating):
    """Notes who trains, with what counts and rate, from what and with what rows."""

    name = "noting"
    needs = frozenset({"clients"})

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self

    def enter(self, train, run):
        granted = run.granted
        self.seen.append(
            (granted.round, granted.client, run.exact_counts.tolist(), len(train), run.phase.lr)
        )
        for name, tensor in run.model.state_dict().items():
            assert torch.equal(tensor, granted.received[name])
        return train

    def report(self, model, rows, run):
        return {"who": torch.tensor(float(run.granted.client))}


def test_clients_begin_each_round_with_what_came_and_know_their_own_counts(small):
    given, noting = small(), Noting()
    made = taught(given, Recipe(noting))
    owners = divide(given, 0, DIGITS).given
    for round_, client, counts, rows, lr in noting.seen:
        labels = owners.train.labels[torch.from_numpy(owners.beside[client])]
        assert counts == labels.bincount(minlength=10).tolist() and rows == len(labels)
        assert lr == pytest.approx(0.2 * rates(given)[round_])
    assert [one[:2] for one in noting.seen] == [(r, k) for r in range(2) for k in range(4)]
    assert [update.reported["who"].item() for update in made.updates] == [0, 1, 2, 3]
    server = made.networks[0][1]
    rows = [len(own) for own in owners.beside]
    by_rows = sum(k * n for k, n in enumerate(rows)) / sum(rows)
    assert server.granted.received["who"].item() == pytest.approx(by_rows)
    assert server.exact_counts.sum() == 0 and server.granted.client is None


def test_one_round_is_the_mean_of_trainings_that_begin_alike(small):
    from ltbench.training import engine

    given = changed(small(), "federation", rounds=1)
    made = taught(given, "erm")
    common = made.networks[0][2].state_dict()
    rows = [update.rows for update in made.updates]
    for name, tensor in common.items():
        parts = torch.stack([update.state[name] for update in made.updates])
        weights = torch.tensor(rows, dtype=torch.float64) / sum(rows)
        expected = torch.tensordot(weights.to(parts.dtype), parts, dims=1)
        torch.testing.assert_close(tensor, expected)
    # a client is the loop of all tracks on its rows, at a rate that stays
    parted = divide(given, 0, DIGITS).given
    _, its_run, _ = made.networks[1]
    own = parted.train[torch.from_numpy(parted.beside[0])]
    from ltbench.tracks.classification import begin

    now = begin(given, replace(parted.parts, train=own), its_run.seed, CPU)
    now.model.load_state_dict(start_of(given))
    now.phase = replace(now.phase, warmup=0.0, milestones=(0.0,), factors=(1.0,))
    plain = engine.train(Method(), own, now, given.budget.batch_size)
    told = made.updates[0].state
    assert all(torch.equal(told[name], tensor) for name, tensor in plain.state_dict().items())


def start_of(given):
    """The parameters with which everybody begins."""
    from ltbench.tracks.classification import begin

    return begin(given, divide(given, 0, DIGITS).given.parts, 0, CPU).model.state_dict()


def test_a_share_of_the_clients_is_chosen_anew_in_each_round(small):
    given, noting = changed(small(), "federation", rounds=6, chosen=0.5), Noting()
    taught(given, Recipe(noting))
    rounds = [{k for r, k, *_ in noting.seen if r == round_} for round_ in range(6)]
    assert {len(chosen) for chosen in rounds} == {2} and len({*map(tuple, rounds)}) > 1


def test_one_seed_gives_the_same_bits_and_another_others(small):
    for text in ("fedloge", "creff", "fedetf(turns=1)", "smote"):
        first, again, other = (run(small(), recipe(text), s, DIGITS, CPU) for s in (0, 0, 1))
        for name in first.arrays:
            np.testing.assert_array_equal(first.arrays[name], again.arrays[name])
        assert first.measures == again.measures != other.measures


def test_a_recipe_is_as_it_was_after_a_cell(small):
    used = recipe("fedloge+fedprox")
    before = copy.deepcopy([vars(method) for method in used.methods])
    run(small(), used, 0, DIGITS, CPU)
    assert [vars(method) for method in used.methods] == before


@pytest.mark.parametrize(
    ("neutral", "plain"),
    [
        ("fedprox(mu=0.0)", "erm"),
        ("fine-tune(epochs=0)", "erm"),
        ("fedetf(epochs=0)+fine-tune(epochs=0)", None),
    ],
)
def test_what_is_neutral_is_plain_to_the_bit(small, neutral, plain):
    if plain is None:
        with pytest.raises(LTBenchError, match="both make the networks of clients"):
            recipe(neutral)
        return
    one, other = (run(small(), recipe(text), 0, DIGITS, CPU) for text in (neutral, plain))
    assert one.measures == other.measures
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])


def test_a_strong_pull_keeps_clients_where_they_began(small):
    given = changed(small(), "federation", rounds=1)
    start = start_of(given)

    def moved(text):
        states = [update.state for update in taught(given, text).updates]
        return max((state[n] - start[n]).norm().item() for state in states for n in start)

    assert moved("fedprox(mu=3.0)") < 0.5 * moved("erm")


def test_local_training_shares_nothing_and_goes_on_where_it_stood(small):
    outcome = run(small(), recipe("local"), 0, DIGITS, CPU)
    assert outcome.measures["sent_floats"] == 0 and not outcome.details.shared
    assert outcome.arrays["predicted"].shape == (4, 500)
    made = taught(small(), "local")
    for (_, _, own), update in zip(made.networks[1:], made.updates, strict=True):
        assert all(torch.equal(update.state[n], t) for n, t in own.state_dict().items())
    longer = changed(small(), "federation", rounds=12)
    alone, together = (run(longer, recipe(text), 0, DIGITS, CPU) for text in ("local", "erm"))
    assert together.measures["balanced_accuracy"] > alone.measures["balanced_accuracy"] + 0.1


def test_fine_tuning_changes_the_networks_of_clients_alone(small):
    plain, tuned = (run(small(), recipe(text), 0, DIGITS, CPU) for text in ("erm", "fine-tune"))
    assert plain.measures["balanced_accuracy"] == tuned.measures["balanced_accuracy"]
    assert plain.details.recalls != tuned.details.recalls
    # clients of the network of all decide alike
    assert all(one == plain.details.recalls[0] for one in plain.details.recalls)


def test_what_is_sent_is_counted_up_and_down(small):
    network = 64 * 16 + 16 + 16 * 10 + 10
    sent = {
        text: run(small(), recipe(text), 0, DIGITS, CPU).measures["sent_floats"]
        for text in ("erm", "prior-shift", "local")
    }
    # shares of ten classes go up in both rounds, and their mean down in the second
    assert sent == {"erm": 2 * network, "prior-shift": 2 * network + 15, "local": 0}


def test_numbers_that_are_none_are_refused(small):
    parted = divide(small(), 0, DIGITS)
    told = answer(small(), recipe("erm"), 0, parted.given, parted.ask, CPU)
    with pytest.raises(LTBenchError, match="a client cannot send -5"):
        parted.mark(replace(told, told={**told.told, "sent_floats": -5.0}))


class Moody(Federating):
    """Reports what it likes, or aggregates to something else."""

    name = "moody"
    needs = frozenset({"clients"})

    def __init__(self, whole: bool = True):
        self.whole = whole

    def report(self, model, rows, run):
        return {"mood": torch.ones(1)} if run.granted.client or not self.whole else None

    def aggregate(self, updates, run):
        return averaged(updates) if self.whole else {"mood": torch.zeros(1)}


def test_what_clients_do_not_all_report_and_a_state_that_does_not_fit_are_told_in_a_line(small):
    with pytest.raises(LTBenchError, match="moody: client 0 reports no mood, which others do"):
        taught(small(), Recipe(Moody()))
    told = "aggregates to a state without a fitting trunk.1.weight"
    with pytest.raises(LTBenchError, match=told):
        taught(small(), Recipe(Moody(whole=False)))


# Peers and attackers.

PEERS = '\ntopology = "peers"\nlearn = "head"\n'


def test_peers_send_the_last_layer_alone_to_all_others(small):
    outcome = run(small(PEERS), recipe("median"), 0, DIGITS, CPU)
    assert outcome.measures["sent_floats"] == 2 * 3 * 170 and not outcome.details.shared
    made, start = taught(small(PEERS), "erm"), start_of(small(PEERS))
    assert set(made.updates[0].state) == {"head.weight", "head.bias"}
    for _, _, network in made.networks[1:]:
        assert torch.equal(network.state_dict()["trunk.1.weight"], start["trunk.1.weight"])


def test_peers_that_all_take_the_mean_have_one_network(small):
    made = taught(small(PEERS), "erm")
    first, *others = (network.state_dict() for _, _, network in made.networks[1:])
    assert all(torch.equal(first[n], other[n]) for other in others for n in first)
    apart = taught(small(PEERS), "bristle")
    first, second, *_ = (network.state_dict() for _, _, network in apart.networks[1:])
    assert not torch.equal(first["head.weight"], second["head.weight"])


def test_attackers_send_noise_or_the_mean_turned_and_the_honest_what_they_trained():
    states = [{"w": torch.tensor([float(k)]), "n": torch.tensor(k)} for k in range(4)]
    sent = [Update(k, state, 10) for k, state in enumerate(states)]
    turned = Federation(clients=4, rounds=1, alpha=0.5, attackers=2, attack="turned", strength=3.0)
    found = attacked(turned, sent, torch.Generator())
    assert [update.state["w"].item() for update in found] == [0, 1, -1.5, -1.5]
    noise = msgspec.structs.replace(turned, attack="noise", strength=20.0)
    first, other = (attacked(noise, sent, torch.Generator().manual_seed(0)) for _ in range(2))
    assert [update.state["w"].item() for update in first][:2] == [0, 1]
    assert 0 < abs(first[2].state["w"].item()) <= 10 and first[2].state["w"] != first[3].state["w"]
    assert first[2].state["w"] == other[2].state["w"]
    none = msgspec.structs.replace(turned, attackers=0)
    assert attacked(none, sent, torch.Generator()) == sent


def test_attackers_are_in_no_measure(small):
    given = small(PEERS + 'attackers = 1\nattack = "noise"\nstrength = 20.0\n')
    outcome = run(given, recipe("bristle"), 0, DIGITS, CPU)
    assert len(outcome.details.rows) == len(outcome.details.recalls) == 3
    assert outcome.arrays["predicted"].shape == (3, 500)


def test_rows_put_aside_are_dealt_to_those_who_have_their_class(small):
    class Aside(Noting):
        def enter(self, train, run):
            aside = run.granted.validation
            counts = aside.labels.bincount(minlength=10)
            self.seen.append((run.granted.client, len(aside)))
            assert not (counts > 0)[run.exact_counts == 0].any()
            return train

    noting = Aside()
    given = small(PEERS, "\n[data]\nvalidation_share = 0.25\n")
    taught(given, Recipe(noting))
    parted = divide(given, 0, DIGITS).given
    assert sum(dict(noting.seen).values()) == len(parted.validation)


def test_a_last_layer_is_weights_beside_biases():
    state = {"head.weight": torch.tensor([[1.0, 2.0]]), "head.bias": torch.tensor([3.0])}
    assert last_layer(state, "somebody").tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(LTBenchError, match="somebody needs a linear classifier"):
        last_layer({}, "somebody")


# Rows of others.


def test_behind_the_rows_of_a_client_stand_no_others(small):
    class Digging(Noting):
        def enter(self, train, run):
            assert not hasattr(train, "source") and not hasattr(run.train, "source")
            base = train.inputs.untyped_storage().nbytes() // train.inputs.element_size()
            assert base == train.inputs.numel()
            return train

    taught(small(), Recipe(Digging()))


def test_the_server_has_no_rows_and_clients_keep_what_they_keep_to_themselves(small):
    class Keeping(Federating):
        name = "keeping"
        needs = frozenset({"clients"})

        def prepare(self, run):
            self.kept = [*getattr(self, "kept", ()), run.granted.client]

        def finish(self, model, validation, run):
            if run.granted.client is None:
                assert not len(run.train)
            return model

    made = taught(small(), Recipe(Keeping()))
    kept = [set(method.methods[0].kept) for method, _, _ in made.networks]
    assert kept == [{None}, {0}, {1}, {2}, {3}]


# Measures.


def test_measures_of_clients_by_hand():
    recall = np.array([[1.0, 0.5, np.nan], [0.0, 1.0, np.nan]])
    rows = np.array([[3, 1, 0], [2, 2, 6]])
    np.testing.assert_allclose(expected_accuracy(recall, rows), [0.875, 0.5])
    np.testing.assert_allclose(over_own(recall, rows), [0.75, 0.5])
    assert scored_clients(recall, rows) == pytest.approx(
        {"personal": 0.6875, "worst_client": 0.5, "client_spread": 0.1875, "own_classes": 0.625}
    )


def test_a_client_without_any_test_row_of_its_classes_counts_nowhere():
    recall, rows = np.array([[1.0, np.nan], [0.5, np.nan]]), np.array([[2, 1], [0, 4]])
    told = scored_clients(recall, rows)
    assert told["personal"] == told["worst_client"] == told["own_classes"] == 1
    assert set(scored_clients(recall[1:], rows[1:]).values()) == {None}


def test_a_cell_keeps_what_its_measures_follow_from(small):
    for federation, text in (("", "fedloge"), (PEERS, "median")):
        given = small(federation)
        outcome = run(given, recipe(text), 2, DIGITS, CPU)
        record = type("Record", (), {"class_counts": outcome.class_counts})
        followed = measured(given, record, outcome.arrays, outcome.details)
        for name, limits in followed.items():
            of_class = name.startswith("recall ")
            value = outcome.recall[int(name[7:])] if of_class else outcome.measures[name]
            assert limits[0] <= value <= limits[1], name
        assert outcome.measures.keys() - followed.keys() == {"sent_floats"}


def test_every_measure_that_is_declared_is_given(small):
    outcome = run(small(), recipe("erm"), 0, DIGITS, CPU)
    FederatedTrack().refuse(outcome)
    declared = {measure.name for measure in FederatedTrack.measures if measure.stored}
    assert declared == outcome.measures.keys()


def test_details_that_are_none_are_refused(small):
    outcome = run(small(), recipe("erm"), 0, DIGITS, CPU)
    record = type("Record", (), {"status": "ok", "details": msgspec.to_builtins(outcome.details)})
    assert FederatedTrack().refused(record) is None
    record.details = {"rows": [["many"]]}
    assert "its clients are none" in FederatedTrack().refused(record)


def test_what_is_given_and_answered_travels_between_processes(small):
    import pickle

    parted = divide(small(), 0, DIGITS)
    given = pickle.loads(pickle.dumps(parted.given))
    told = answer(small(), recipe("fedloge"), 0, given, parted.ask, CPU)
    _, arrived = unpacked(packed(told, {}))
    here = run(small(), recipe("fedloge"), 0, DIGITS, CPU)
    assert parted.mark(arrived).measures == here.measures


def test_a_board_is_run_and_shows_its_clients(small, tmp_path):
    path = tmp_path / "small.toml"
    small()
    results = tmp_path / "out"
    texts = [one for text in ("erm", "local", "fedloge") for one in ("-m", text)]
    options = ["--seeds", "2", "--results", str(results), "--jobs", "1"]
    result = CliRunner().invoke(main, ["run", str(path), *texts, *options])
    assert result.exit_code == 0, result.output
    records = list(read_all(results, "small"))
    assert [record.status for record in records] == ["ok"] * 6
    there = next(one for one in records if one.recipe == "fedloge" and one.seed == 1)
    here = run(protocol(path), recipe("fedloge"), 1, DIGITS, CPU)
    assert there.measures == here.measures
    kept = arrays_of(results, there)["predicted"]
    np.testing.assert_array_equal(np.atleast_2d(kept), here.arrays["predicted"])
    table = (results / "small" / "table.md").read_text()
    assert "worst client" in table and "numbers sent" in table
