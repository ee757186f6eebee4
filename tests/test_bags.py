"""Bags: how they are made, what is withheld, what composes, what is refused."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs

from ltbench import LTBenchError, Method, Recipe, Rows, Unmet, protocol, recipe
from ltbench.datasets import Dataset, built_in
from ltbench.models.mlp import Network, Options
from ltbench.protocols.schema import Holds
from ltbench.registry.registry import Registry, installed
from ltbench.testing.report import Failure
from ltbench.tracks.bags import checks
from ltbench.tracks.bags.contract import BagMethod, BagRecipe
from ltbench.tracks.bags.cutting import blanked, cut, load, refuse_bags
from ltbench.tracks.bags.making import classes_of, made_of
from ltbench.tracks.bags.pooling import Pool, Pooled, filled_in
from ltbench.tracks.bags.problem import Drawn
from ltbench.tracks.bags.scores import attended, witnessed
from ltbench.tracks.bags.track import ATTENDED, begin, divide, of_protocol, run
from ltbench.tracks.recognition.track import run as recognise
from ltbench.training import engine

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
NAME = "digits-bags-lt"
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "bags"]


def short(epochs=2, **more):
    given = protocol(NAME)
    return structs.replace(given, budget=structs.replace(given.budget, epochs=epochs), **more)


def of_chance(**more):
    """The small protocol with bags that are drawn, of uneven lengths."""
    fixed = short()
    counts = type(fixed.imbalance)("counts", "label", "seed", counts=[40, 6])
    drawn = Drawn("9", mean=4.0, deviation=2.0, test=10)
    return structs.replace(fixed, planted=None, drawn=drawn, imbalance=counts, **more)


def any_data(fixed, **more):
    return structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any", **more))


@pytest.fixture(autouse=True)
def without_clocks(monkeypatch):
    monkeypatch.setattr("ltbench.tracks.bags.track.time_plain", lambda *given: 1.0)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


# Bags are made.


def numbered():
    """Digits each of which is its label and, behind the point, its number."""
    inputs = DIGITS.train.labels + torch.arange(len(DIGITS.train)) / 1e4
    inputs = inputs.view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    return Dataset(Rows(inputs, DIGITS.train.labels), DIGITS.classes)


@pytest.mark.parametrize("fixed", [short(), of_chance()], ids=["planted", "drawn"])
def test_bags_to_train_on_and_to_test_on_share_no_image(fixed):
    if fixed.planted is not None:
        fixed = structs.replace(fixed, planted=structs.replace(fixed.planted, noise=0.0))
    for seed in (0, 1):
        parts = cut(any_data(fixed), numbered(), seed).parts
        seen = [
            part.inputs[filled_in(part.inputs)].unique() for part in (parts.train, parts.test())
        ]
        assert not set(seen[0].tolist()) & set(seen[1].tolist())


def test_a_planted_bag_has_one_witness_anywhere_and_background_else():
    fixed = any_data(short(planted=structs.replace(short().planted, noise=0.0)))
    for made, counts in zip(made_of(fixed, numbered(), 0), (None, [80] * 5), strict=True):
        digits = made.rows.inputs[..., 0, 0, 0].floor().long()
        assert torch.equal((digits >= 5), made.witnesses) and (made.witnesses.sum(1) == 1).all()
        assert torch.equal(digits[made.witnesses], made.rows.labels + 5)
        assert made.rows.mask.all() and digits.shape[1] == 10
        assert (digits[~made.witnesses].bincount() > 0).all()
        assert made.witnesses.float().mean(dim=0).std() < 0.06  # any place as likely
        if counts:
            assert made.rows.labels.bincount().tolist() == counts
    assert sorted(made_of(fixed, numbered(), 0)[0].rows.labels.bincount().tolist()) == [
        *(7, 15, 33, 70, 150)
    ]


def test_classes_change_their_size_with_the_seed():
    found = [cut(short(), DIGITS, seed).parts.class_counts for seed in range(5)]
    assert len({tuple(one) for one in found}) > 1


def test_noise_is_that_of_the_protocol():
    plain, noisy = (
        made_of(short(planted=structs.replace(short().planted, noise=noise)), DIGITS, 0)[0].rows
        for noise in (0.0, 0.1)
    )
    moved = noisy.inputs - plain.inputs
    assert abs(moved.std().item() - 0.1) < 1e-3 and abs(moved.mean().item()) < 1e-3


def test_drawn_bags_hold_what_chance_gives_and_as_many_of_a_class_as_is_said():
    train, test = made_of(any_data(of_chance()), numbered(), 0)
    for made, counts in ((train, [40, 6]), (test, [10, 10])):
        digits = made.rows.inputs[..., 0, 0, 0].floor().long()
        there = made.rows.mask
        assert torch.equal(((digits == 9) & there), made.witnesses)
        assert torch.equal(made.witnesses.any(dim=1).long(), made.rows.labels)
        assert made.rows.labels.bincount().tolist() == counts
        lengths = there.sum(dim=1)
        assert lengths.min() >= 1 and lengths.max() == there.shape[1] > lengths.min()
    assert classes_of(of_chance(), DIGITS) == ("no 9", "9")


# What is withheld, and what follows.


@pytest.mark.parametrize("fixed", [short(), of_chance()], ids=["planted", "drawn"])
def test_what_a_cell_is_given_holds_no_label_or_witness_of_a_test_bag(fixed):
    divided = divide(fixed, 0, DIGITS)
    given = pickle.loads(pickle.dumps(divided.given))
    assert given.beside is None and given.train.mask is None and given.validation is None
    asked = divided.ask()
    assert asked.groups is None and vars(asked).keys() == {"inputs", "shuffled", "groups"}
    test = cut(fixed, DIGITS, 0).parts.test()
    assert asked.inputs.shape == test.inputs.shape
    assert not torch.equal(asked.inputs.nan_to_num(), test.inputs.nan_to_num())


@pytest.mark.parametrize("fixed", [short(), of_chance()], ids=["planted", "drawn"])
@pytest.mark.parametrize("text", ["erm", "gated-abmil+sc-mil+logit-adjustment", "max-pooling+crt"])
def test_one_seed_gives_the_same_bits(text, fixed):
    first, second = (run(fixed, recipe(text), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(
        np.array_equal(first.arrays[n], second.arrays[n], equal_nan=n == ATTENDED)
        for n in first.arrays
    )


def test_a_training_resumes_to_the_same_bits():
    fixed = short(epochs=3)
    parts = cut(fixed, DIGITS, 0).parts

    def trained(**given):
        methods = of_protocol(fixed, *recipe("gated-abmil+sc-mil+oversampling").methods)
        at = begin(fixed, parts, 0, CPU)
        return engine.train(methods, parts.train, at, 32, **given).state_dict()

    states = []
    whole = trained(checkpoint=lambda state: states.append(pickle.dumps(state)))
    again = trained(resume=pickle.loads(states[0]))
    assert len(states) == 3 and all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("fixed", [short(), of_chance()], ids=["planted", "drawn"])
def test_every_measure_follows_from_what_a_record_keeps(fixed):
    track = installed().track("bags")
    outcome = run(fixed, recipe("abmil"), 0, DIGITS, CPU)

    class Record:
        class_counts = outcome.class_counts

    followed = track.measured(fixed, Record, outcome.arrays)
    for name, value in outcome.measures.items():
        if value is None:
            assert followed[name] is None
        else:
            low, high = followed[name]
            assert low <= value <= high
    assert 0 < outcome.measures["witness"] <= 1
    assert track.measured(fixed, Record, {}) == {}


def test_adamw_takes_the_budgets_momentum_as_its_first_beta():
    at = begin(short(), cut(short(), DIGITS, 0).parts, 0, CPU)
    made = of_protocol(short()).optimizer(at.model, at)
    assert isinstance(made, torch.optim.AdamW)
    assert made.defaults["betas"] == (0.9, 0.999) and made.defaults["weight_decay"] == 1e-2
    assert not isinstance(BagRecipe().optimizer(at.model, at), torch.optim.AdamW)
    own = BagRecipe(*recipe("muon").methods, adamw=True).optimizer(at.model, at)
    assert not isinstance(own, torch.optim.AdamW)


# The network of bags.


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network((1, 8, 8), 3, Options([6], batch_norm=True))


def test_a_bag_of_one_instance_is_the_network_of_instances_to_the_bit():
    images = DIGITS.train.inputs[:5]
    alone = network().eval()(images)
    assert torch.equal(Pooled(network()).eval()(images[:, None]), alone)


def test_what_stands_where_nothing_is_does_not_matter():
    bags = DIGITS.train.inputs[:12].view(3, 4, 1, 8, 8)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]).bool()
    model = Pooled(network()).train()
    told = []
    for padding in (torch.nan, torch.inf, 0.0, 1e9):
        spoiled = bags.where(mask.view(3, 4, 1, 1, 1), padding)
        rows = blanked(Rows(spoiled, torch.zeros(3, dtype=torch.long), mask=mask))
        assert torch.equal(filled_in(rows.inputs), mask)
        told += [model(rows.inputs), model(spoiled, mask)]  # BatchNorm sees instances alone
    assert all(torch.equal(one, told[0]) for one in told)
    wider = torch.cat([rows.inputs, torch.full_like(rows.inputs, torch.nan)], dim=1)
    torch.testing.assert_close(model(wider), told[0])


def test_no_gradient_of_a_training_goes_wrong_through_padding():
    fixed = of_chance()
    outcome = run(fixed, recipe("gated-abmil"), 0, DIGITS, CPU)
    assert outcome.measures["balanced_accuracy"] >= 0.5  # and not diverged


# Attention.


def test_attention_on_witnesses_is_the_share_of_the_largest_weights():
    weights = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6]])
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]).astype(bool)
    found = attended(weights, truth)
    assert found[:3].tolist() == [1.0, 0.5, 0.0] and np.isnan(found[3])
    labels = np.array([0, 0, 1, 2])
    told = witnessed(found, labels, [200, 50, 5], (20, 100))
    assert told == {
        "witness": 0.375,
        "witness_many": 0.75,
        "witness_medium": 0.0,
        "witness_few": None,
    }
    assert witnessed(found[3:], labels[3:], [9, 9, 9], (20, 100))["witness"] is None


def test_the_mean_looks_everywhere_and_fails_where_attention_finds_the_witness():
    fixed = protocol(NAME)
    plain, gated = (run(fixed, recipe(text), 100, DIGITS, CPU) for text in ("erm", "gated-abmil"))
    assert plain.measures["witness"] == pytest.approx(0.1)  # of ten places
    assert plain.measures["balanced_accuracy"] < 0.4
    assert gated.measures["balanced_accuracy"] > plain.measures["balanced_accuracy"] + 0.1
    assert gated.measures["witness_many"] > 0.5


class Silent(torch.nn.Module):
    def forward(self, h, filled):
        return h.sum(dim=1)


class Summing(BagMethod):
    """Sums the features of instances, whose number then counts."""

    name = "summing"

    def pooling(self, width, run):
        return Silent()


def test_a_pool_without_weights_has_no_attention():
    outcome = run(short(), Recipe(Summing()), 0, DIGITS, CPU)
    assert "witness" not in outcome.measures and ATTENDED not in outcome.arrays
    checks.padding_does_not_matter(Recipe(Summing()))


# What composes, and what does not.


@pytest.mark.parametrize("fixed", [short(epochs=1), of_chance()], ids=["planted", "drawn"])
@pytest.mark.parametrize(
    "text",
    [
        "class-weights",
        "oversampling",
        "logit-adjustment",
        "posthoc-logit-adjustment",
        "focal",
        "ldam+drw",
        "crt",
        "tau-norm",
        "ncm",
        "bcl",
        "deep-smote",
        "pseudo-features",
        "undersampling",
        "minority-mining",
        "sam",
        "lws",
        "paco",
        "ssp(pretext='contrastive')",
    ],
)
def test_losses_weights_draws_and_stages_of_the_library_compose(text, fixed):
    fixed = structs.replace(fixed, budget=structs.replace(fixed.budget, epochs=1))
    assert run(fixed, recipe(f"gated-abmil+{text}"), 0, DIGITS, CPU).measures["accuracy"] >= 0


def test_a_draw_of_two_classes_composes_where_bags_have_two():
    text = "gated-abmil+train-share(p=0.4)"
    assert run(of_chance(), recipe(text), 0, DIGITS, CPU).measures["accuracy"] > 0
    with pytest.raises(Unmet, match="supplies no two_classes; train-share needs that"):
        run(short(), recipe(text), 0, DIGITS, CPU)


MIXES = "makes rows of its own in {}, and does not say what becomes of the instances of a bag"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mixup", MIXES.format("batch")),
        ("remix", MIXES.format("batch")),
        ("relation-mixup", MIXES.format("batch")),
        ("smote", MIXES.format("resample")),
        ("borderline-smote", MIXES.format("resample")),
        ("smote-tomek", MIXES.format("resample")),
        ("cluster-centroids", MIXES.format("resample")),
        ("cmo", "cmo takes no bags in batch; digits-bags-lt takes methods that leave bags"),
        ("ssp", "ssp takes no bags in batch"),
        ("bagan", "bagan takes no bags in resample"),
        ("rcal", MIXES.format("batch")),
        ("enn", "reads bags as numbers, which places without an instance are not, in resample"),
    ],
)
def test_what_makes_bags_of_its_own_is_refused_in_a_sentence(text, reason):
    with pytest.raises(Unmet) as refusal:
        run(short(), recipe(f"gated-abmil+{text}"), 0, DIGITS, CPU)
    told = str(refusal.value)
    assert reason in told and text in told and len(told.splitlines()) == 1


class Halves(BagMethod):
    """Mixes bags, and says what it does: each has half of the instances of another beside its."""

    name = "halves"

    def batch(self, batch, run):
        other = batch.inputs.flip(0)
        return replace(batch, inputs=torch.cat([batch.inputs, other[:, ::2]], dim=1))


def test_a_method_that_says_what_it_does_may_mix_bags():
    assert run(short(), Recipe(Halves()), 0, DIGITS, CPU).measures["accuracy"] > 0


def test_methods_of_bags_are_refused_elsewhere():
    with pytest.raises(Unmet, match="supplies no bags; abmil needs that"):
        recognise(protocol("digits-lt"), recipe("abmil"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="supplies no pool; fixmatch needs that"):
        run(short(), recipe("fixmatch"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="sade overrides adapt"):
        run(short(), recipe("sade"), 0, DIGITS, CPU)


# Bags of a user.


@pytest.fixture
def mine(tmp_path):
    """A protocol over arrays, and what writes them."""
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nversion = 1\ntrack = "bags"\ndescription = "Mine."\nrecipes = ["erm"]\n'
        'seeds = 1\n[data]\nsource = "mine"\nfingerprint = "any"\n[imbalance]\nprofile = "source"\n'
        '[network]\nname = "mlp"\nwidths = [8]\n[budget]\nepochs = 2\nbatch_size = 4\nlr = 0.05\n'
        "momentum = 0.9\nnesterov = false\nweight_decay = 0.0\nwarmup = 0.0\n"
        'decay = "cosine"\naugmentation = "none"\n'
        '[scoring]\nmetrics = ["balanced_accuracy", "witness"]\nshot_splits = [3, 5]\n'
        "[compute]\nthreads = 1\n"
    )

    def write(**changed):
        chance = np.random.default_rng(0)
        arrays = {
            "x_train": chance.random((9, 4, 5)),
            "y_train": np.arange(9) % 2,
            "lengths_train": np.array([4, 1, 2, 3, 4, 2, 1, 3, 4]),
            "x_test": chance.random((4, 3, 5)),
            "y_test": np.arange(4) % 2,
            "classes": np.array(["calm", "storm"]),
        }
        arrays |= changed
        np.savez(tmp_path / "mine.npz", **{k: v for k, v in arrays.items() if v is not None})
        return protocol(file), tmp_path / "mine.npz"

    return write


def read(fixed, place):
    (source,) = load(Registry(data={"mine": place}), fixed).values()
    return source


def test_arrays_are_read_and_learned_from(mine):
    witnesses = np.zeros((4, 3), dtype=bool)
    witnesses[:, 1] = True
    source = read(*mine(witnesses_test=witnesses))
    assert source.classes == ("calm", "storm") and source.train.mask.sum() == 24
    outcome = run(mine()[0], recipe("gated-abmil"), 0, source, CPU)
    assert outcome.class_counts == [5, 4] and 0 <= outcome.measures["witness"] <= 1
    plain = read(*mine())
    assert plain.fingerprint != source.fingerprint
    assert "witness" not in run(mine()[0], recipe("abmil"), 0, plain, CPU).measures


def test_a_mask_stands_for_lengths_and_nan_may_stand_where_it_says_that_nothing_does(mine):
    fixed, place = mine()
    source = read(fixed, place)
    mask = source.train.mask.numpy()
    spoiled = source.train.inputs.where(source.train.mask[..., None], torch.nan).numpy()
    other = read(*mine(lengths_train=None, mask_train=mask, x_train=spoiled))
    assert torch.equal(
        blanked(other.train).inputs.nan_to_num(9), blanked(source.train).inputs.nan_to_num(9)
    )
    first, second = (run(fixed, recipe("abmil"), 0, one, CPU) for one in (source, other))
    assert first.measures == second.measures


LENGTHS = np.array([4, 1, 2, 3, 4, 2, 1, 3, 4])


def with_nan():
    x = np.random.default_rng(0).random((9, 4, 5))
    x[3, 2, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"lengths_train": LENGTHS * (LENGTHS != 1)},
            r"bag 1 of mine has no instance .2 such",
        ),
        (
            {"lengths_train": LENGTHS + 1},
            "bag 0 of lengths_train has 5 instances, but there are",
        ),
        ({"lengths_train": -LENGTHS}, "bag 0 of lengths_train has -4 instances"),
        ({"lengths_train": LENGTHS[:5]}, r"lengths_train is int64 \[5\], not a whole number for"),
        ({"lengths_train": LENGTHS / 2}, "lengths_train is float64"),
        ({"mask_train": LENGTHS[:, None] > np.arange(4)}, "holds lengths_train and mask_train"),
        (
            {"lengths_train": None, "mask_train": np.ones((9, 3), bool)},
            r"mask_train is bool \[9, 3\], not true or false for each of \[9, 4\] places",
        ),
        ({"lengths_train": None, "mask_train": np.ones((9, 4))}, "mask_train is float64"),
        ({"x_train": with_nan()}, "instance 2 of training bag 3 of mine holds a value that is not"),
        ({"x_train": np.ones((9, 4))}, r"x_train float64 \[9, 4\] are no bags \[N, L, ...\]"),
        ({"x_test": np.ones((4, 3, 6))}, r"instances to train on are \[5\], to test on \[6\]"),
        ({"y_train": np.arange(8) % 2}, "y_train is not one whole number for each of 9 bags"),
        ({"y_train": np.arange(9) % 3}, "y_train has label 2, which is not in 0..1"),
        ({"y_train": np.zeros(9, int)}, "class storm has no train bags"),
        ({"y_test": None}, "holds no y_test; it needs x_train, y_train, x_test, y_test"),
        ({"classes": np.array(["calm", "calm"])}, "two or more are told apart, each once"),
        ({"witnesses_test": np.ones((4, 2))}, r"witnesses_test is \[4, 2\], but test bags have"),
    ],
)
def test_bags_that_cannot_be_learned_from_are_refused(mine, changed, message):
    with pytest.raises(LTBenchError, match=message) as refusal:
        read(*mine(**changed))
    assert len(str(refusal.value).splitlines()) <= 2


def test_what_a_protocol_says_of_its_bags_is_held_against_them(mine):
    fixed, place = mine()
    holds = type(fixed.data.holds)([Holds(classes=("calm", "gale"))])
    with pytest.raises(LTBenchError, match="data set mine is not as declared: its classes are"):
        read(structs.replace(fixed, data=structs.replace(fixed.data, holds=holds)), place)


def test_rows_that_are_no_bags_are_refused():
    labels = torch.zeros(2, dtype=torch.long)
    with pytest.raises(LTBenchError, match=r"inputs of x are \[2, 3\]; bags are \[N, L, ...\]"):
        refuse_bags("x", Rows(torch.ones(2, 3), labels), "test")
    bags = torch.ones(2, 3, 4)
    with pytest.raises(LTBenchError, match=r"mask of test bags of x is torch.bool \[2, 4\], not"):
        refuse_bags("x", Rows(bags, labels, mask=torch.ones(2, 4, dtype=torch.bool)), "test")
    bags[1, 2, 0] = torch.inf
    with pytest.raises(LTBenchError, match=r"instance 2 of test bag 1 of x .* \(1 such\)"):
        refuse_bags("x", Rows(bags, labels), "test")


def test_files_that_are_not_there_or_none_are_told(mine, tmp_path):
    fixed, place = mine()
    with pytest.raises(LTBenchError, match="bags 'mine' are not at .*: --data mine=FILE"):
        read(fixed, tmp_path / "gone.npz")
    place.write_text("no archive")
    with pytest.raises(LTBenchError, match="mine.npz is not an .npz file, as bags are stored in"):
        read(fixed, place)


def test_a_command_on_bad_bags_ends_with_a_line(ltbench, mine, tmp_path):
    _, place = mine(lengths_train=LENGTHS * (LENGTHS != 1))
    words = ("--data", f"mine={place}", "--seeds", "1", "--results", tmp_path / "results")
    done = ltbench("run", tmp_path / "mine.toml", *words)
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert "training bag 1 of mine has no instance (2 such)" in " ".join(done.output.split())


# Protocols.


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('[drawn]\nwitness = "9"\nmean = 4\ndeviation = 1\ntest = 5', "planted or drawn, not both"),
        ("[planted]\nlength = 0", "length"),
        ('[planted]\nbackground = ["5"]', "witnesses and background name class '5' twice"),
        ('[planted]\nwitnesses = ["5"]', "witnesses"),
        ("[data]\nlabel_noise = 0.1", "label_noise is not for this track"),
        ("[data]\nvalidation_share = 0.1", "validation_share and classes are not for made"),
        ('[budget]\naugmentation = "shift"', "instances have no views: augmentation is 'none'"),
        ('optimizer = "adam"', "optimizer"),
        ("[data]\nmean = [0.1, 0.2]\nstd = [1.0, 1.0]", "mean and std are one number each"),
    ],
)
def test_protocols_of_impossible_bags_are_refused(tmp_path, lines, message):
    file = tmp_path / "mine.toml"
    head = f'base = "{NAME}"\nname = "mine"\nversion = 1\ndescription = "Mine."\n'
    file.write_text(f"{head}{lines}\n")
    with pytest.raises(LTBenchError, match=message) as refusal:
        protocol(str(file))
    assert len(str(refusal.value).splitlines()) <= 2


def test_sources_that_do_not_fit_are_refused():
    fixed = short()
    planted = fixed.planted
    with pytest.raises(LTBenchError, match="unknown class 'x'.*of the images that bags hold"):
        cut(structs.replace(fixed, planted=structs.replace(planted, background=("x",))), DIGITS, 0)
    with pytest.raises(LTBenchError, match="class 5 has no image for bags to train on"):
        cut(any_data(fixed, test_per_class=500), DIGITS, 0)
    with pytest.raises(LTBenchError, match="is fixed to 0123456789abcdef"):
        data = structs.replace(fixed.data, fingerprint="0123456789abcdef")
        cut(structs.replace(fixed, data=data), DIGITS, 0)
    with pytest.raises(LTBenchError, match="digits has no test split; mend test_per_class"):
        cut(any_data(fixed, test_per_class=None), DIGITS, 0)
    with pytest.raises(LTBenchError, match="counts 2 classes, but bags have 5"):
        counts = type(fixed.imbalance)("counts", "label", "seed", counts=[5, 2])
        cut(structs.replace(fixed, imbalance=counts), DIGITS, 0)
    with pytest.raises(LTBenchError, match="no image is left for bags to train on"):
        cut(any_data(of_chance(), test_per_class=500), DIGITS, 0)
    with pytest.raises(LTBenchError, match="of .* bags drawn too few hold no 9"):
        drawn = Drawn("9", mean=500.0, deviation=1.0, test=1)
        counts = type(fixed.imbalance)("counts", "label", "seed", counts=[1, 1])
        cut(of_chance(), DIGITS, 0)
        cut(structs.replace(of_chance(), drawn=drawn, imbalance=counts), DIGITS, 0)


# The checks see what they are to see.


class First(Pool):
    """Takes the instance that happens to stand first."""

    def weights(self, h, filled):
        return torch.zeros_like(h[..., 0]).index_fill(1, torch.tensor([0]), 1.0)


class Padded(Pool):
    """Counts places without an instance too."""

    def weights(self, h, filled):
        return torch.full_like(h[..., 0], 1 / h.shape[1])


class Takes(BagMethod):
    name = "takes"
    kind: type[Pool] = First

    def pooling(self, width, run):
        return self.kind()


class Counts(Takes):
    kind = Padded


def test_the_check_of_order_sees_a_method_that_goes_by_place():
    checks.order_of_instances_does_not_matter(recipe("abmil"))
    with pytest.raises(Failure, match="in another order of instances"):
        checks.order_of_instances_does_not_matter(Recipe(Takes()))


def test_the_checks_of_padding_see_a_method_that_counts_it():
    for check, message in (
        (checks.padding_does_not_matter, "with more empty places"),
        (checks.padding_gets_no_attention, "expected weights of 0 where there is no instance"),
    ):
        check(recipe("max-pooling"))
        with pytest.raises(Failure, match=message):
            check(Recipe(Counts()))


def test_the_check_of_one_instance_sees_a_sum_that_is_scaled():
    class Twice(BagMethod):
        name = "twice"

        def pooling(self, width, run):
            return Doubled()

    class Doubled(Pool):
        def weights(self, h, filled):
            return 2 * filled.to(h) / filled.sum(dim=1, keepdim=True)

    checks.one_instance_is_the_network_of_instances(recipe("abmil"))
    with pytest.raises(Failure, match="the weights of instances sum to 1"):
        checks.one_instance_is_the_network_of_instances(Recipe(Twice()))


class Cheats(BagMethod):
    """Asks for what it should not have."""

    name = "cheats"

    def scores(self, scores, run):
        return scores + float(LEAKED[0].sum())


LEAKED = []


def test_the_check_of_test_labels_sees_a_leak(monkeypatch):
    import ltbench.tracks.bags.checks as module

    real = module.of_cut

    def leaking(protocol, seed, bags, classes):
        LEAKED[:] = [bags.parts.test().labels[:3]]
        return real(protocol, seed, bags, classes)

    monkeypatch.setattr(module, "of_cut", leaking)
    with pytest.raises(Failure, match="whatever is told of test bags"):
        checks.test_labels_change_nothing(Recipe(Cheats()))


def test_the_check_of_marks_sees_an_image_of_a_test_bag(monkeypatch):
    import ltbench.tracks.bags.cutting as module

    monkeypatch.setattr(module, "made_of", lambda *given: made_of(*given)[::-1])
    with pytest.raises(Failure, match="held-out ones reached"):
        checks.test_bags_stay_out(recipe("abmil"))


def test_plain_methods_need_no_check_of_bags():
    assert checks.checks(recipe("logit-adjustment")) == {}
    assert isinstance(begin(short(), cut(short(), DIGITS, 0).parts, 0, CPU).model, Pooled)
    assert isinstance(of_protocol(short(), Method()), BagRecipe)
