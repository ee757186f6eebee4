"""Several labels a row: scenes, files, what is missing, what is withheld, bad input."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs
from PIL import Image

from ltbench import LTBenchError, Recipe, Rows, Unmet, protocol, recipe
from ltbench.datasets import Dataset, built_in
from ltbench.registry.registry import Registry, installed
from ltbench.testing.report import Failure
from ltbench.tracks.multilabel import checks
from ltbench.tracks.multilabel.contract import LABEL_SETS, LabelMethod, LabelRecipe
from ltbench.tracks.multilabel.cutting import cut, load, with_missing
from ltbench.tracks.multilabel.problem import Scenes
from ltbench.tracks.multilabel.scenes import composed, labels_of, shrunk
from ltbench.tracks.multilabel.track import begin, divide, run
from ltbench.tracks.recognition.track import run as recognise
from ltbench.training import engine

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "multilabel"]


def short(name="digits-scenes-lt", epochs=2, **more):
    given = protocol(name)
    return structs.replace(given, budget=structs.replace(given.budget, epochs=epochs), **more)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


# Scenes.


def test_scenes_to_train_and_to_test_on_share_no_digit():
    numbered = torch.arange(float(len(DIGITS.train))).view(-1, 1, 1, 1).expand(-1, 1, 8, 8) + 1
    rows = Dataset(Rows(numbered.contiguous(), DIGITS.train.labels), DIGITS.classes)
    fixed = short()
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))
    for seed in (0, 1):
        parts = cut(fixed, rows, seed)
        seen = [set(part.inputs.unique().tolist()) - {0} for part in (parts.train, parts.test())]
        assert not seen[0] & seen[1]
        assert len(seen[1]) <= 600


def test_a_scene_shows_what_its_labels_say():
    numbered = (DIGITS.train.labels + 1.0).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    rows = Dataset(Rows(numbered, DIGITS.train.labels), DIGITS.classes)
    fixed = short()
    fixed = structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))
    parts = cut(fixed, rows, 0)
    for part in (parts.train, parts.test()):
        cells = part.inputs.unfold(2, 8, 8).unfold(3, 8, 8)[..., 0, 0].flatten(1).long()
        shown = torch.zeros(len(part), 11).scatter_(1, cells, 1.0)[:, 1:]
        assert torch.equal(shown, part.labels)
        assert (cells > 0).sum() == part.labels.sum()  # no class twice
        assert (cells > 0).float().mean(dim=0).std() < 0.05  # any cell as likely


def test_labels_have_a_long_tail_to_train_on_and_none_to_test_on():
    parts = cut(short(), DIGITS, 0)
    assert len(parts.train) == 347
    counts = torch.tensor(parts.class_counts)
    assert counts.max() > 150 and counts.min() < 12
    assert torch.equal(parts.train.labels.sum(dim=0).long(), counts)
    tested = parts.test().labels.sum(dim=0)
    assert len(parts.test()) == 400 and tested.min() > 50 and tested.max() < 110
    other = cut(short(), DIGITS, 1).class_counts
    assert sorted(other) != other and other.index(max(other)) != parts.class_counts.index(
        max(parts.class_counts)
    )


def test_further_classes_are_drawn_by_their_law_and_once():
    chance = torch.Generator().manual_seed(0)
    first = torch.zeros(20_000, dtype=torch.long)
    law = torch.tensor([5.0, 4.0, 2.0, 1.0])
    chosen = labels_of(first, law, Scenes(further=(0.5, 0.3, 0.2), test=1), chance)
    number = (chosen >= 0).sum(dim=1)
    shares = number.bincount(minlength=5)[1:] / len(first)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2, 0.0]), rtol=0, atol=0.02)
    assert (chosen[:, 0] == 0).all() and not (chosen[:, 1:] == 0).any()
    assert (chosen[:, 1] != chosen[:, 2])[number == 3].all()
    second = chosen[number > 1, 1].bincount(minlength=4)[1:] / (number > 1).sum()
    torch.testing.assert_close(second, torch.tensor([4, 2, 1]) / 7, rtol=0, atol=0.02)


def test_images_of_scenes_can_be_made_smaller():
    bytes_ = torch.tensor([[0, 255], [255, 255]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert shrunk(bytes_, 1).tolist() == [[[[191]]]]
    assert shrunk(bytes_, None) is bytes_
    rows = Rows(torch.ones(2, 1, 4, 4), torch.tensor([0, 1]))
    lists = [torch.tensor([0]), torch.tensor([1])]
    chance = torch.Generator().manual_seed(0)
    made = composed(rows, lists, torch.tensor([[0, 1, -1, -1]]), 2, chance)
    assert made.inputs.shape == (1, 1, 4, 4) and made.inputs.sum() == 8
    assert made.labels.tolist() == [[1, 1]]


# Missing labels.


def test_half_of_the_labels_are_missing_but_a_row_and_a_class_keep_one():
    whole, told = (cut(short(name), DIGITS, 0) for name in (SHIPPED_WHOLE, SHIPPED_PARTIAL))
    assert torch.equal(whole.train.inputs, told.train.inputs)
    assert torch.equal(whole.test().labels, told.test().labels)
    assert whole.class_counts == told.class_counts
    assert (told.train.labels <= whole.train.labels).all()
    left = told.train.labels.sum() / whole.train.labels.sum()
    assert 0.5 < left < 0.72
    assert told.train.labels.any(dim=1).all() and told.train.labels.any(dim=0).all()


SHIPPED_WHOLE, SHIPPED_PARTIAL = "digits-scenes-lt", "digits-scenes-lt-partial"


def test_labels_go_missing_by_chance_alone():
    labels = torch.ones(4_000, 3)
    told = with_missing(labels, 0.5, 0)
    shares = told.sum(dim=1).long().bincount(minlength=4) / 4_000
    expected = torch.tensor([0, 1 + 3, 3, 1]) / 8  # rows that would have none keep one
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.03)
    assert torch.equal(told, with_missing(labels, 0.5, 0))
    assert with_missing(labels, 0.0, 0) is labels
    one = torch.eye(3)
    assert torch.equal(with_missing(one, 0.9, 0), one)


# Cells.


def test_what_a_cell_is_given_holds_no_label_of_a_test_row():
    divided = divide(short(), 0, DIGITS, frozenset())
    given = pickle.loads(pickle.dumps(divided.given))
    assert vars(given).keys() == vars(divided.given).keys() and given.validation is None
    assert given.beside is None and len(given.train) == 347
    asked = divided.ask()
    assert vars(asked).keys() == {"inputs", "shuffled", "groups"} and asked.groups is None
    test = cut(short(), DIGITS, 0).test()
    assert not torch.equal(asked.inputs, test.inputs)


@pytest.mark.parametrize(
    "text", ["erm", "class-aware-sampling+distribution-balanced", "class-embeddings+mixup+rlc"]
)
def test_one_seed_gives_the_same_bits(text):
    first, second = (run(short(), recipe(text), 3, DIGITS, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(np.array_equal(first.arrays[n], second.arrays[n]) for n in first.arrays)
    assert first.timing.passes == 1


def test_a_training_resumes_to_the_same_bits():
    fixed = short(epochs=3)
    parts = cut(fixed, DIGITS, 0)

    def trained(**given):
        methods = recipe("class-aware-sampling+class-embeddings+rlc").methods
        at = begin(fixed, parts, 0, CPU)
        model = engine.train(LabelRecipe(*methods, adamw=True), parts.train, at, 32, **given)
        return model.state_dict()

    states = []
    whole = trained(checkpoint=lambda state: states.append(pickle.dumps(state)))
    assert len(states) == 3
    again = trained(resume=pickle.loads(states[0]))
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_every_measure_follows_from_what_a_record_keeps():
    track = installed().track("multilabel")
    outcome = run(short(), recipe("asl"), 0, DIGITS, CPU)

    class Record:
        class_counts = outcome.class_counts

    followed = track.measured(short(), Record, outcome.arrays)
    for name, value in outcome.measures.items():
        low, high = followed[name]
        assert low <= value <= high
    assert followed["recall 3"][0] <= outcome.recall[3] <= followed["recall 3"][1]
    assert track.measured(short(), Record, {}) == {}
    assert track.decided(Record, outcome.arrays) is None


def test_adamw_takes_the_budgets_momentum_as_its_first_beta():
    at = begin(short(), cut(short(), DIGITS, 0), 0, CPU)
    made = LabelRecipe(adamw=True).optimizer(at.model, at)
    assert isinstance(made, torch.optim.AdamW)
    assert made.defaults["betas"] == (0.9, 0.999) and made.defaults["weight_decay"] == 1e-2
    assert not isinstance(LabelRecipe().optimizer(at.model, at), torch.optim.AdamW)
    own = LabelRecipe(*recipe("muon").methods, adamw=True).optimizer(at.model, at)
    assert not isinstance(own, torch.optim.AdamW)


def test_the_prior_is_granted():
    parts = cut(short(), DIGITS, 0)
    at = begin(short(), parts, 0, CPU)
    assert at.granted.rows == 347
    assert at.exact_counts.tolist() == parts.class_counts
    together = parts.train.labels.T @ parts.train.labels
    assert torch.equal(at.granted.together, together)
    assert torch.equal(together.diagonal(), at.exact_counts)


# What composes, and what does not.


@pytest.mark.parametrize("text", ["mixup", "sam", "muon", "log-odds+mixup+sam"])
def test_methods_that_read_no_classes_stand_beside(text):
    assert run(short(epochs=1), recipe(text), 0, DIGITS, CPU).measures["map"] > 0


@pytest.mark.parametrize(
    ("text", "hook"),
    [
        ("logit-adjustment", "adjust"),
        ("class-balanced", "weight"),
        ("focal", "criterion"),
        ("crt", "sampling_weights"),
        ("remix", "batch"),
        ("cmo", "batch"),
        ("tau-norm", "finish"),
        ("posthoc-logit-adjustment", "scores"),
    ],
)
def test_methods_of_one_class_a_row_are_refused_by_name(text, hook):
    with pytest.raises(Unmet, match=f"^{text} overrides {hook}, which serves one class a row"):
        run(short(), recipe(text), 0, DIGITS, CPU)


def test_methods_of_several_labels_are_refused_elsewhere():
    with pytest.raises(Unmet, match="supplies no label_sets; asl needs that"):
        recognise(protocol("digits-lt"), recipe("asl"), 0, DIGITS, CPU)
    with pytest.raises(Unmet, match="supplies no pool; fixmatch needs that"):
        run(short(), recipe("fixmatch"), 0, DIGITS, CPU)
    with pytest.raises(LTBenchError, match="asl and mfm both decide the loss of a label"):
        recipe("asl+mfm")


# Files of a user.


@pytest.fixture
def of_files(tmp_path):
    """A protocol over files, and where they stand."""
    text = (
        'base = "voc-lt"\nname = "mine"\nversion = 1\ndescription = "Mine."\nrecipes = ["erm"]\n'
        '[data]\nsource = "mine"\nsize = 8\nmean = []\nstd = []\n'
        '[network]\nname = "scenenet"\nwidths = [4, 4]\n[budget]\nepochs = 2\nbatch_size = 4\n'
        '[compute]\nprecision = "float32"\nmemory_format = "contiguous"\n'
    )
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return protocol(file), tmp_path / "mine"


def pictures(folder, train, test):
    """Lists of coloured pictures; each line of `train` and `test` is 0 and 1 for cat, dog, owl."""
    folder.mkdir()
    colour = np.random.default_rng(0)
    for split, lines in (("train", train), ("test", test)):
        told = ["image,cat,dog,owl"]
        for number, line in enumerate(lines):
            name = f"{split}-{number}.png"
            Image.fromarray(colour.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(folder / name)
            told.append(f"{name},{line}")
        (folder / f"{split}.csv").write_text("\n".join(told) + "\n")


GOOD = ["1,0,0", "1,1,0", "0,0,1", "0,1,1", "1,0,0"]


def read(fixed, place):
    registry = Registry(data={"mine": place})
    (source,) = load(registry, fixed).values()
    return source


def test_lists_of_images_are_read_and_learned_from(of_files):
    fixed, place = of_files
    pictures(place, GOOD, ["1,0,0", "0,0,0", "0,1,0"])
    source = read(fixed, place)
    assert source.classes == ("cat", "dog", "owl")
    assert source.train.inputs.shape == (5, 3, 8, 8) and source.train.labels[3].tolist() == [
        0,
        1,
        1,
    ]
    outcome = run(fixed, recipe("log-odds"), 0, source, CPU)
    assert outcome.notes == ["class owl has no positive test row and is left out of all means"]
    assert outcome.recall[2] is None and outcome.class_counts == [3, 2, 2]
    assert 0 < outcome.measures["map"] <= 1


def test_arrays_are_read_and_learned_from(of_files):
    fixed, place = of_files
    chance, labels = np.random.default_rng(0), np.array([[1, 0], [1, 1], [0, 1], [1, 0]])
    images = chance.random((4, 1, 8, 8))
    arrays = dict(x_train=images, y_train=labels, x_test=images, y_test=labels)
    np.savez(place.with_suffix(".npz"), **arrays, classes=["sun", "sea"])
    source = read(fixed, place.with_suffix(".npz"))
    assert source.classes == ("sun", "sea") and source.train.labels.dtype == torch.float32
    assert run(fixed, recipe("erm"), 0, source, CPU).measures["map"] > 0
    np.savez(place.with_suffix(".npz"), **arrays | {"y_train": labels[:, 0]})
    with pytest.raises(LTBenchError, match=r"labels int64 \[4\] are no matrix of 0 and 1"):
        read(fixed, place.with_suffix(".npz"))
    np.savez(place.with_suffix(".npz"), x_train=images)
    with pytest.raises(LTBenchError, match="holds no y_train; it needs x_train, y_train"):
        read(fixed, place.with_suffix(".npz"))


def of_labels(train, test=((1, 0), (0, 1))):
    rows = [torch.tensor(one, dtype=torch.float32) for one in (train, test)]
    parts = [Rows(torch.zeros(len(one), 1, 8, 8), one) for one in rows]
    return Dataset(parts[0], ("cat", "dog"), parts[1])


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([[1, 0], [0, 0], [0, 1], [0, 0]], r"2 training rows of mine have no label .*rows 1, 3\)"),
        ([[0, 0]] * 5 + [[1, 1]], r"5 training rows .*rows 0, 1, 2 and others\); leave them out"),
        ([[1, 0], [2, 1]], r"training row 1 of mine has 2 for class cat; a label is 1, or 0"),
        ([[1, float("nan")]], "training row 0 of mine has nan for class dog"),
        ([[1, 0], [1, 0]], "class dog of mine has no training rows"),
        ([[1, 0, 0]], r"labels of training rows of mine are \[1, 3\], no matrix with a column"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(of_files, train, message):
    with pytest.raises(LTBenchError, match=message) as refusal:
        cut(of_files[0], of_labels(train), 0)
    assert len(str(refusal.value).splitlines()) <= 2


def test_labels_of_test_rows_are_0_or_1_but_may_all_be_absent(of_files):
    fixed, good = of_files[0], [[1, 0], [0, 1]]
    with pytest.raises(LTBenchError, match="test row 1 of mine has 0.5 for class dog"):
        cut(fixed, of_labels(good, [[0, 1], [0, 0.5]]), 0)
    assert len(cut(fixed, of_labels(good, [[0, 1], [0, 0]]), 0).test()) == 2
    with pytest.raises(LTBenchError, match="mine has no test split, which mine needs"):
        cut(fixed, replace(of_labels(good), test=None), 0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("1,1,0", "1,2,0"), "row 2 has '2' for class dog; a label is 1"),
        (lambda text: text.replace("1,1,0", "1,1"), "row 2: 3 columns, but 4 are named"),
        (lambda text: text.replace("image,", "file,"), "its first line is 'image' and the name of"),
        (lambda text: text.replace("train-1.png", "gone.png"), "gone.png cannot be read: No such"),
        (lambda text: text.replace("train-1", "../train-1"), "points outside of"),
        (lambda text: text.replace("owl", "emu"), "train.csv and test.csv name other classes"),
        (lambda text: "", "its first line is 'image'"),
    ],
)
def test_lists_that_are_none_are_refused(of_files, spoil, message):
    fixed, place = of_files
    pictures(place, GOOD, GOOD)
    file = place / "train.csv"
    file.write_text(spoil(file.read_text()))
    with pytest.raises(LTBenchError, match=message) as refusal:
        read(fixed, place)
    assert len(str(refusal.value).splitlines()) <= 2


def test_files_that_are_not_there_are_told(of_files):
    fixed, place = of_files
    with pytest.raises(LTBenchError, match="mine is not at .*: a folder with train.csv and test"):
        read(fixed, place)


def test_a_command_on_bad_labels_ends_with_a_line(ltbench, of_files, tmp_path):
    _, place = of_files
    pictures(place, ["1,0,0", "0,0,0", "0,1,1"], GOOD)
    words = ("--data", f"mine={place}", "--seeds", "1", "--results", str(tmp_path / "results"))
    done = ltbench("run", str(tmp_path / "mine.toml"), *words)
    assert done.exit_code == 2
    assert "1 training rows of mine have no label at all (rows 1)" in " ".join(done.output.split())
    assert "Traceback" not in done.output


# Protocols.


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("missing = 1.0", "missing"),
        ('optimizer = "adam"', "optimizer"),
        ("[scenes]\nfurther = [0.5, 0.6]", "the chances further .* must sum to 1"),
        ("[scenes]\ntest = 0", "test"),
        ("[data]\nlabel_noise = 0.1", "label_noise is not for this track; state missing"),
        ("[data]\nvalidation_share = 0.1", "validation_share is not for this track"),
    ],
)
def test_protocols_of_impossible_scenes_are_refused(tmp_path, lines, message):
    file = tmp_path / "mine.toml"
    head = 'base = "digits-scenes-lt"\nname = "mine"\nversion = 1\ndescription = "Mine."\n'
    file.write_text(f"{head}{lines}\n")
    with pytest.raises(LTBenchError, match=message) as refusal:
        protocol(str(file))
    assert len(str(refusal.value).splitlines()) <= 2


def test_sources_that_do_not_fit_are_refused():
    fixed = short()
    with pytest.raises(LTBenchError, match="class 0 of digits has 0 images for scenes to train on"):
        few = DIGITS.train[torch.arange(400)]
        data = structs.replace(fixed.data, fingerprint="any")
        cut(structs.replace(fixed, data=data), Dataset(few, DIGITS.classes), 0)
    with pytest.raises(LTBenchError, match="is fixed to 0123456789abcdef"):
        data = structs.replace(fixed.data, fingerprint="0123456789abcdef")
        cut(structs.replace(fixed, data=data), DIGITS, 0)
    with pytest.raises(LTBenchError, match="digits has no test split; mend test_per_class"):
        cut(
            structs.replace(fixed, data=structs.replace(fixed.data, test_per_class=None)), DIGITS, 0
        )
    with pytest.raises(LTBenchError, match="counts 2 classes, but digits has 10"):
        counts = type(fixed.imbalance)("counts", "label", "seed", counts=[5, 2])
        cut(structs.replace(fixed, imbalance=counts), DIGITS, 0)


# The checks see what they are to see.


class FirstFirst(LabelMethod):
    """Weighs the label that happens to stand first."""

    name = "first-first"

    def label_weight(self, labels, run):
        return torch.cat([2 * torch.ones(1), torch.ones(labels.shape[1] - 1)]).to(labels)


def test_the_check_of_names_sees_a_method_that_goes_by_number():
    checks.label_names_do_not_matter(recipe("asl"))
    with pytest.raises(Failure, match="a label's number must not count"):
        checks.label_names_do_not_matter(Recipe(FirstFirst()))


class Shifting(LabelMethod):
    """Writes into the scores that it is given."""

    name = "shifting"

    def label_losses(self, scores, labels, run):
        with torch.no_grad():
            scores += 1
        return super().label_losses(scores, labels, run)


def test_the_check_of_tensors_sees_one_that_writes_into_them():
    with pytest.raises(Failure, match="work on a copy"):
        checks.labels_stay_as_they_are(Recipe(Shifting()))


def test_the_check_of_test_rows_sees_marked_ones(monkeypatch):
    true = checks.run

    def straying(fixed, recipe_, seed, dataset, device):
        strayed = replace(dataset, train=replace(dataset.train, inputs=dataset.train.inputs + 1000))
        data = structs.replace(fixed.data, fingerprint="any")
        return true(structs.replace(fixed, data=data), recipe_, seed, strayed, device)

    monkeypatch.setattr(checks, "run", straying)
    with pytest.raises(Failure, match="held-out ones reached"):
        checks.test_rows_stay_out(recipe("asl"))


class Peeks(LabelMethod):
    """Sets its head by test labels, which somebody left in a wrong place."""

    name = "peeks"
    left = None

    def build(self, model, run):
        with torch.no_grad():
            model.head.bias += 0 if Peeks.left is None else Peeks.left.sum(dim=0)
        return model


def test_the_check_of_test_labels_sees_one_that_peeks(monkeypatch):
    true = checks.of_parts

    def leaking(fixed, seed, parts, classes):
        Peeks.left = parts.test().labels
        return true(fixed, seed, parts, classes)

    checks.test_labels_change_nothing(Recipe(Peeks()))
    monkeypatch.setattr(checks, "of_parts", leaking)
    with pytest.raises(Failure, match="whatever the labels of test rows are"):
        checks.test_labels_change_nothing(Recipe(Peeks()))


def test_other_methods_are_not_its_to_check():
    track = installed().track("multilabel")
    assert track.checks(recipe("ldam")) == {} and track.checks(recipe("fixmatch")) == {}
    assert LABEL_SETS in recipe("asl").all_needs
