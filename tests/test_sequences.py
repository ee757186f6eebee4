"""Sequences: files, padding and channels as declared, views, cells, bad input."""

import pickle
import sys

import numpy as np
import pytest
import torch
from msgspec import structs

from ltbench import LTBenchError, Unmet, protocol, recipe
from ltbench.datasets import built_in
from ltbench.registry.registry import Registry, installed
from ltbench.toolbox import augments
from ltbench.tracks.recognition.track import run as recognise
from ltbench.tracks.sequences import checks, sources
from ltbench.tracks.sequences.declaration import SequencesTrack
from ltbench.tracks.sequences.problem import Layout, Moved
from ltbench.tracks.sequences.sources import laid_out, names, read
from ltbench.tracks.sequences.track import begin, divide, load, parts_of, run
from ltbench.tracks.sequences.views import SequenceViews, moved

CPU = torch.device("cpu")
DIGITS = built_in()["digits"]()
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "sequences"]

HEADER = """# what the archive says of it
@problemName tiny
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true walk run
@data
"""
ROWS = "1,2,3:10,20,30:walk\n4,5:40,50:run\n"
OTHERS = "6,7:60,70:run\n8:80:walk\n9,1,2,3:90,10,20,30:walk\n"
AB = Layout(("a", "b"), 5, "zeros", (("a",), ("b",)))


def digits(**more):
    """The embedded protocol, and its rows as sequences."""
    fixed = structs.replace(protocol("digits-sequences-lt"), **more)
    return fixed, load(installed(), fixed)[""]


def short(**more):
    fixed = protocol("digits-sequences-lt")
    return digits(budget=structs.replace(fixed.budget, epochs=2), **more)


@pytest.fixture
def pair(tmp_path):
    """A file to train on, and one beside it to test on."""
    (tmp_path / "tiny_TRAIN.ts").write_text(HEADER + ROWS)
    (tmp_path / "tiny_TEST.ts").write_text(HEADER + OTHERS)
    return tmp_path / "tiny_TRAIN.ts"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the user's own files stand, with no package beside them."""
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "packaged", lambda name: None)
    return tmp_path / "aeon"


# Files.


def test_a_file_is_read_with_the_test_split_beside_it(pair):
    found = read(pair)
    assert found.classes == ("walk", "run")
    assert found.train.labels.tolist() == [0, 1] and found.test.labels.tolist() == [1, 0, 0]
    assert found.train.inputs.tolist() == [
        [[1, 2, 3, 0], [10, 20, 30, 0]],
        [[4, 5, 0, 0], [40, 50, 0, 0]],
    ]
    assert found.test.mask.sum(dim=1).tolist() == [2, 1, 4]
    assert read(pair.parent).fingerprint == found.fingerprint  # of the folder as well


def test_a_file_alone_has_no_test_split(pair):
    pair.with_name("tiny_TEST.ts").unlink()
    found = read(pair)
    assert found.test is None and found.train.shape == (2, 3)


def test_sequences_of_one_length_need_no_mask(tmp_path):
    (tmp_path / "even.ts").write_text(HEADER + "1,2:3,4:run\n5,6:7,8:walk\n")
    assert read(tmp_path / "even.ts").train.mask is None


def test_a_file_that_has_changed_is_read_anew(pair):
    before = read(pair).fingerprint
    pair.write_text(HEADER + "1,2,3:10,20,31:walk\n4,5:40,50:run\n")
    assert read(pair).fingerprint != before


def test_the_order_of_channels_is_in_the_fingerprint_and_so_is_where_a_sequence_ends(pair):
    before = read(pair).fingerprint
    pair.write_text(HEADER + "10,20,30:1,2,3:walk\n40,50:4,5:run\n")
    assert read(pair).fingerprint != before
    pair.write_text(HEADER + "1,2,3,0:10,20,30,0:walk\n4,5:40,50:run\n")
    assert read(pair).fingerprint != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (ROWS, "is no .ts file of sequences: it has no line @data"),
        (HEADER, "holds no sequences"),
        (HEADER.replace("true walk run", "false") + ROWS, "says no class of its sequences"),
        (HEADER.replace("timeStamps false", "timeStamps true") + ROWS, "has time stamps; store"),
        (HEADER + ROWS + ":1:run", "sequence 3, channel 1 has no steps; leave the sequence out"),
        (HEADER + ROWS + "1,2:3,4:5,6:run", "sequence 3 has 3 channels, but those before have 2"),
        (HEADER + ROWS + "1,2:3:run", "sequence 3, channel 2 has 1 steps, but its first has 2"),
        (HEADER + ROWS + "1,NaN:3,4:run", "sequence 3, channel 1 holds a value that is not finite"),
        (HEADER + ROWS + "1,2:3,inf:run", "sequence 3, channel 2 holds a value that is not finite"),
        (HEADER + ROWS + "1,?:3,4:run", r"sequence 3, channel 1 misses a value \(\?\); fill it in"),
        (HEADER + ROWS + "1,:3,4:run", r"sequence 3, channel 1 misses a value \(none\)"),
        (HEADER + ROWS + "1,x:3,4:run", "sequence 3, channel 1 holds 'x', which is no number"),
        (HEADER + ROWS + "1,2:3,4:swim", "has class 'swim', which its @classLabel lacks"),
        (HEADER + "walk\n", "sequence 1 has no channel before its class"),
        (HEADER + "1:2:walk\n", "has no sequence of class run"),
        (HEADER.replace(" run", "") + "1:2:walk\n", "has one class; there is nothing to tell"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_a_line(tmp_path, text, told):
    path = tmp_path / "mine.ts"
    path.write_text(text)
    with pytest.raises(LTBenchError, match=told) as refused:
        read(path)
    assert "mine.ts" in str(refused.value) and "\n" not in str(refused.value)


def test_two_files_that_do_not_fit_are_told(pair):
    other = pair.with_name("tiny_TEST.ts")
    other.write_text(HEADER + "1:walk\n2:run\n")
    with pytest.raises(LTBenchError, match="TEST.ts has 1 channels, but tiny_TRAIN.ts 2"):
        read(pair)
    other.write_text(HEADER.replace("walk run", "walk run swim") + OTHERS + "1:2:swim\n")
    with pytest.raises(LTBenchError, match="class 'swim', which tiny_TRAIN.ts lacks"):
        read(pair)


def test_a_folder_of_several_files_asks_for_one(tmp_path):
    for name in ("one.ts", "two.ts"):
        (tmp_path / name).write_text(HEADER + ROWS)
    with pytest.raises(LTBenchError, match="holds one.ts, two.ts; name the one that is meant"):
        read(tmp_path)


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "mine.ts").write_bytes(b"@data\n\xff\xfe\xfa")
    with pytest.raises(LTBenchError, match="mine.ts cannot be read: line 2 is not in utf-8"):
        read(tmp_path / "mine.ts")
    with pytest.raises(LTBenchError, match=r"gone.ts cannot be read: No such file"):
        read(tmp_path / "gone.ts")


def test_how_to_get_sequences_is_told(folder):
    with pytest.raises(LTBenchError, match=r"install aeon .* or put Tiny_TRAIN.ts and Tiny_TEST"):
        sources.place("Tiny")
    (folder / "Tinny").mkdir(parents=True)
    (folder / "Tinny" / "Tinny_TRAIN.ts").write_text(HEADER + ROWS)
    assert names() == ["aeon/Tinny"]
    with pytest.raises(LTBenchError, match="did you mean 'aeon/Tinny'"):
        sources.place("Tiny")


def test_a_run_without_the_package_ends_in_that_line(folder, ltbench):
    told = ltbench("run", "japanese-vowels-lt", "-m", "erm", "--seeds", 1)
    assert told.exit_code == 2 and "install aeon" in told.stderr
    assert "Traceback" not in told.output


def test_the_package_is_found_without_being_imported(tmp_path, monkeypatch):
    package = tmp_path / "site" / "aeon"
    held = package / "datasets" / "data" / "Tiny"
    held.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it wants a compiler')\n")
    (held / "Tiny_TRAIN.ts").write_text(HEADER + ROWS)
    (held / "Tiny_eq_TRAIN.ts").write_text(HEADER + ROWS)  # another form of it, under no name
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(package.parent))
    assert names() == ["aeon/Tiny"] and len(read(sources.place("Tiny")).train) == 2
    assert "aeon" not in sys.modules


@pytest.mark.skipif("aeon/JapaneseVowels" not in names(), reason="JapaneseVowels is not here")
def test_japanese_vowels_are_those_that_the_protocol_is_fixed_to():
    found = read(sources.place("JapaneseVowels"))
    assert found.fingerprint == protocol("japanese-vowels-lt").data.fingerprint
    assert found.class_counts == [30] * 9 and len(found.test) == 370
    lengths = torch.cat([found.train.mask.sum(1), found.test.mask.sum(1)])
    assert (lengths.min(), lengths.max()) == (7, 29)
    rows = load(installed(), protocol("japanese-vowels-lt"))[""]
    assert rows.train.shape == (12, 29) and rows.fingerprint == found.fingerprint


# What a protocol makes of them.


def test_what_is_behind_the_end_is_filled_as_declared(pair):
    found = read(pair)
    zeros = laid_out(found, AB, (), "tiny").train.inputs
    assert zeros.tolist() == [
        [[1, 2, 3, 0, 0], [10, 20, 30, 0, 0]],
        [[4, 5, 0, 0, 0], [40, 50, 0, 0, 0]],
    ]
    last = laid_out(found, structs.replace(AB, padding="last"), (), "tiny").train.inputs
    assert last[:, 0].tolist() == [[1, 2, 3, 3, 3], [4, 5, 5, 5, 5]]
    assert last[1, 1].tolist() == [40, 50, 50, 50, 50]


def test_zeros_are_those_that_the_network_sees(pair):
    found = laid_out(read(pair), AB, (2.0, -1.0), "tiny")
    seen = SequenceViews((2.0, -1.0), (4.0, 5.0)).plain(found.train.inputs)
    worked = torch.tensor([[0.5, 0.75, 0, 0, 0], [8.2, 10.2, 0, 0, 0]])
    assert torch.allclose(seen[1], worked) and not seen[1][:, 2:].any()


def test_lines_of_grey_images_are_channels():
    _, found = digits()
    assert torch.equal(found.train.inputs, DIGITS.train.inputs[:, 0])
    assert found.fingerprint == DIGITS.fingerprint


def test_other_channels_or_more_steps_than_stated_are_told(pair):
    found = read(pair)
    with pytest.raises(LTBenchError, match="tiny has sequences of 2 channels, but the protocol na"):
        laid_out(found, Layout(("a", "b", "c"), 5, "zeros"), (), "tiny")
    with pytest.raises(LTBenchError, match="of 4 steps, and the protocol keeps 3; raise steps"):
        laid_out(found, structs.replace(AB, steps=3), (), "tiny")


MINE = """base = "digits-sequences-lt"
name = "mine"
[data]
source = "mine"
fingerprint = "any"
test_per_class = 2
[sequence]
channels = [CHANNELS]
steps = 6
padding = "zeros"
parts = []
[imbalance]
profile = "counts"
counts = [6, 3]
class_order = "label"
draw = "seed"
[budget]
epochs = 1
"""


def mine(tmp_path, channels):
    path = tmp_path / "mine.toml"
    path.write_text(MINE.replace("CHANNELS", ", ".join(f'"{c}"' for c in channels)))
    return protocol(path)


def arrays(tmp_path, *shape):
    labels = np.arange(20) % 2
    inputs = np.random.RandomState(0).normal(size=(20, *shape)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x_train=inputs, y_train=labels)
    return Registry(data={"mine": tmp_path / "mine.npz"}), inputs


@pytest.mark.parametrize(("shape", "channels"), [((2, 6), "ab"), ((6,), "a")])
def test_arrays_of_a_users_own_are_sequences(tmp_path, shape, channels):
    registry, inputs = arrays(tmp_path, *shape)
    fixed = mine(tmp_path, channels)
    found = load(registry, fixed)[""]
    assert torch.equal(found.train.inputs, torch.from_numpy(inputs).reshape(20, -1, 6))
    assert run(fixed, recipe("logit-adjustment"), 0, found, CPU).class_counts == [6, 3]


def test_colour_images_are_no_sequences(tmp_path):
    registry, _ = arrays(tmp_path, 3, 6, 6)
    with pytest.raises(LTBenchError, match=r"a row of mine is \[3, 6, 6\]; a sequence is \[chan"):
        load(registry, mine(tmp_path, "ab"))


def test_values_of_arrays_that_are_not_finite_are_told(tmp_path):
    inputs = np.full((4, 2, 6), np.nan, dtype=np.float32)
    np.savez(tmp_path / "mine.npz", x_train=inputs, y_train=np.arange(4) % 2)
    registry = Registry(data={"mine": tmp_path / "mine.npz"})
    with pytest.raises(LTBenchError, match="holds values that are not finite"):
        load(registry, mine(tmp_path, "ab"))


def test_a_file_of_a_users_own_is_named_at_the_command(tmp_path, ltbench):
    text = HEADER + "".join(f"{k},{k % 3}:{-k},1:{'run' if k % 2 else 'walk'}\n" for k in range(20))
    (tmp_path / "own.ts").write_text(text)
    mine(tmp_path, "ab")
    given = ("--data", f"mine={tmp_path / 'own.ts'}", "-m", "erm", "--seeds", 1, "--jobs", 1)
    done = ltbench("run", tmp_path / "mine.toml", *given)
    assert done.exit_code == 0, done.output
    (tmp_path / "own.ts").write_text(text + "1,?:3,4:run\n")
    refused = ltbench("run", tmp_path / "mine.toml", *given, "--seeds", 2)
    assert refused.exit_code == 2 and "misses a value" in refused.stderr


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[sequence]\nchannels = ["a", "a"]', "two channels have one name"),
        ("[sequence]\nchannels = []", "channels"),
        ("[sequence]\nsteps = 0", "steps"),
        ('[sequence]\npadding = "mirror"', "padding"),
        ('[sequence]\nparts = [["line 1"], ["line 2"]]', "each of channels in one of them"),
        ("[views]\nshift = 0", "shift"),
        ("[views]\nshift = 1\nscaling = 1.0", "scaling"),
        ("[views]\nshift = 1\njitter = -0.1", "jitter"),
        ('[budget]\naugmentation = "crop-flip"', "'crop-flip' is for images"),
        ("[data]\nsize = 8", "size is for images"),
        ("[data]\nmean = [0.1, 0.2]\nstd = [1.0, 1.0]", "one for each of 8 channels"),
    ],
)
def test_bad_protocols_are_refused_in_a_line(tmp_path, toml, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "digits-sequences-lt"\nname = "mine"\n{toml}\n')
    with pytest.raises(LTBenchError, match=message) as refused:
        protocol(path)
    assert str(refused.value).count("\n") <= 1


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


# Views.


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_row_is_moved_over_zeros():
    x = torch.arange(1.0, 5.0).expand(5, 1, 4)
    found = moved(x, torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8]) + 0.1, 2)
    assert found[:, 0].tolist() == [
        [0, 0, 1, 2],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4, 0],
        [3, 4, 0, 0],
    ]


def test_views_are_drawn_for_each_row_and_follow_from_the_seed():
    views = SequenceViews(padding=2, scaling=0.2, jitter=0.1)
    x = torch.randn(64, 3, 10, generator=chance(1))
    first, second = (views.augmented(x, chance()) for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, views.augmented(x, chance(3)))
    assert first.shape == x.shape and torch.equal(views.plain(x), x)
    same = views.augmented(x[:1].expand(64, 3, 10), chance())
    assert not torch.equal(same[0], same[1])


def test_factors_and_noise_are_as_large_as_declared():
    ones = torch.ones(4000, 2, 9)
    scaled = SequenceViews(padding=1, scaling=0.3).augmented(ones, chance())[:, :, 4]
    assert scaled.min() > 0.7 and scaled.max() < 1.3 and scaled.std().item() > 0.15
    assert not torch.equal(scaled[:, 0], scaled[:, 1])  # a factor for each channel
    noisy = SequenceViews(padding=1, jitter=0.25).augmented(ones, chance())[:, :, 4]
    assert abs(noisy.std().item() - 0.25) < 0.01


def test_without_views_a_row_is_as_it_is_and_draws_nothing():
    random = chance()
    before, x = random.get_state(), torch.randn(4, 2, 5)
    assert torch.equal(SequenceViews().augmented(x, random), x)
    assert torch.equal(random.get_state(), before)
    assert not augments(begin_of()) and augments(begin_of(views=Moved(1)))


def begin_of(**more):
    fixed, found = short(**more)
    given = divide(fixed, 0, found).given
    return begin(fixed, given.parts, 0, CPU)


def test_one_view_for_all_is_the_same_for_all_and_lets_gradients_through():
    views = SequenceViews((0.5, 0.0), (2.0, 1.0), padding=2, scaling=0.5, jitter=0.1)
    x = torch.randn(3, 2, 8, generator=chance(1)).requires_grad_()
    view = views.alike(chance())
    both = view(torch.cat([x, x]))
    assert torch.equal(both[:3], both[3:]) and torch.equal(view(x), both[:3])
    both.sum().backward()
    assert x.grad.abs().sum() > 0


def test_a_run_has_the_views_and_parts_of_its_protocol():
    given = begin_of(views=Moved(2, 0.1, 0.05))
    assert given.views == SequenceViews(padding=2, scaling=0.1, jitter=0.05)
    assert given.granted.parts.tolist() == [[True] * 4 + [False] * 4, [False] * 4 + [True] * 4]
    assert parts_of(Layout(("a",), 3, "zeros")).shape == (0, 1)


# Cells.


@pytest.mark.parametrize("text", ["brl+logit-adjustment", "ldam+drw+sam", "mixup+crt", "smote"])
def test_one_seed_gives_the_same_bits(text):
    fixed, found = short(views=Moved(1, 0.1, 0.05))
    first, second = (run(fixed, recipe(text), 3, found, CPU) for _ in range(2))
    assert first.measures == second.measures
    assert all(np.array_equal(first.arrays[n], second.arrays[n]) for n in first.arrays)


def test_views_change_a_cell():
    (still, found), (moving, _) = short(), short(views=Moved(1, 0.1, 0.05))
    first, second = (run(fixed, recipe("erm"), 0, found, CPU) for fixed in (still, moving))
    assert not np.array_equal(first.arrays["confidence"], second.arrays["confidence"])


def test_a_cell_that_travels_holds_no_row_but_its_own():
    fixed, found = short()
    travelled = pickle.loads(pickle.dumps(divide(fixed, 0, found).given))
    assert len(travelled.train) == 342 and travelled.train.shape == (8, 8)


def test_every_measure_follows_from_what_is_kept():
    fixed, found = short()
    made = run(fixed, recipe("erm"), 0, found, CPU)
    track = SequencesTrack()
    told = track.measured(fixed, made, made.arrays)
    for name in ("balanced_accuracy", "few", "worst_class", "macro_f1", "macro_auc"):
        low, high = told[name]
        assert low <= made.measures[name] <= high


IMAGES = {
    "bagan": "bagan makes images, and rows of [8, 8] are none",
    "cmo": "cmo pastes parts of images, and rows of [8, 8] are none",
    "ssp": "ssp turns square images [N, C, H, H], but these rows are [8, 8] each",
}
"""Methods of images alone, and what they say of sequences."""


def of_networks():
    """The methods of the library that recognition runs, and those of this track."""
    for name, method in sorted(installed().methods().items()):
        if "network" in method.models and not method.needs - {"parts", "test_inputs"}:
            yield name


@pytest.mark.parametrize("text", [*of_networks()])
def test_a_method_runs_on_sequences_or_says_why_not(text):
    fixed, found = short()
    try:
        made = run(fixed, recipe(text), 0, found, CPU)
    except LTBenchError as refused:
        assert text in IMAGES and IMAGES[text] in str(refused) and "\n" not in str(refused)
    else:
        assert text not in IMAGES and made.measures["balanced_accuracy"] > 0.05


@pytest.mark.parametrize("text", ["brl", "part-mix+logit-adjustment"])
def test_other_tracks_and_protocols_without_parts_refuse_what_takes_parts(text):
    with pytest.raises(Unmet, match="digits-lt supplies no parts"):
        recognise(protocol("digits-lt"), recipe(text), 0, DIGITS, CPU)
    fixed, found = short()
    whole = structs.replace(fixed, sequence=structs.replace(fixed.sequence, parts=()))
    with pytest.raises(Unmet, match="supplies no parts"):
        run(whole, recipe(text), 0, found, CPU)


@pytest.mark.parametrize("text", ["brl", "part-mix(ratio=0.5)"])
def test_thorough_checks_pass(text):
    for check in checks.THOROUGH.values():
        check(recipe(text))
