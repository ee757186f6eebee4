import copy
import json
import sys
import textwrap
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from ltbench import LTBenchError, Method, Rows, protocol, recipe
from ltbench.contract.context import Phase, Run
from ltbench.contract.recipes import Recipe
from ltbench.registry.registry import Registry, installed
from ltbench.results.records import path_of, read
from ltbench.running.cell import Cell, run_cell
from ltbench.running.execute import execute
from ltbench.running.plan import plan
from ltbench.tracks.tabular import track as tabular
from ltbench.tracks.tabular.folds import stratified
from ltbench.tracks.tabular.tables import TableRows

CPU = torch.device("cpu")
SMALL = """
name = "small"
version = 1
track = "tabular"
description = "Two tables, for tests."
recipes = ["smote"]
seeds = 2

[tables.breast-cancer]
source = "scikit-learn/breast-cancer"
fingerprint = "bb3ef95ff5c4739c"
positive = ["malignant"]
factor = 10

[tables.wine]
source = "scikit-learn/wine"
fingerprint = "1570c9b303c0563f"
factor = 5

[learners]
logistic = {}
tree = {max_depth = 3}

[scoring]
folds = 3

[compute]
threads = 1
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def with_learners(small, **learners):
    """The protocol with other learners, each given as the text of its parameters."""
    lines = "\n".join(f"{name} = {{{parameters}}}" for name, parameters in learners.items())
    old = SMALL[SMALL.index("logistic = ") : SMALL.index("[scoring]")]
    small.write_text(SMALL.replace(old, f"{lines}\n\n"))
    return protocol(small)


def table(counts=(30, 10), columns=3, words=True, seed=0):
    """Clouds of rows, a column of words beside."""
    random = np.random.RandomState(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    numbers = random.randn(len(labels), columns) + labels[:, None]
    features = pd.DataFrame(numbers, columns=list("abcdef"[:columns]))
    if words:
        drawn = random.choice(["red", "green", "blue"], len(labels))
        features["colour"] = pd.Categorical(drawn)
    return TableRows(features, labels, tuple(map(str, range(len(counts)))), "f")


def changed(original, rows, value):
    """The table with other numbers in some rows."""
    features = original.features.copy()
    features.loc[rows, "a"] = value
    return TableRows(features, original.labels, original.classes, "f")


def test_rows_to_score_have_no_say_in_the_preprocessing():
    original = table()
    held_out = np.flatnonzero(stratified(original.labels, 2, 7) == 0)
    first = tabular.cut(original, 7, 3)[0]
    other = tabular.cut(changed(original, held_out[:5], 1e6), 7, 3)[0]
    assert torch.equal(first.train.inputs, other.train.inputs)
    assert torch.equal(first.test.inputs[5:], other.test.inputs[5:])
    assert other.test.inputs[:5, 0].min() > 1e5
    torch.testing.assert_close(first.train.inputs[:, :3].mean(0), torch.zeros(3))
    torch.testing.assert_close(first.train.inputs[:, :3].std(0, correction=0), torch.ones(3))


def test_rows_that_set_thresholds_have_no_say_in_the_preprocessing_of_the_others():
    original = table()
    kept = np.flatnonzero(stratified(original.labels, 2, 7) != 0)
    within = stratified(original.labels[kept], 3, 14)
    marked = changed(original, kept[within == 0][:2], 1e6)
    first, other = (tabular.cut(one, 7, 3)[0].inner[0] for one in (original, marked))
    assert torch.equal(first.train.inputs, other.train.inputs)
    assert other.test.inputs[:2, 0].min() > 1e5


def test_missing_numbers_are_the_median_of_the_rows_to_fit():
    original = table(words=False)
    features = original.features.copy()
    features.loc[::4, "b"] = np.nan
    fold = tabular.cut(TableRows(features, original.labels, original.classes, "f"), 0, 2)[0]
    place = stratified(original.labels, 2, 0)
    known = features["b"][place != 0]
    filled = known.fillna(known.median())
    expected = ((filled - filled.mean()) / filled.std(ddof=0)).to_numpy()
    np.testing.assert_allclose(fold.train.inputs[:, 1].numpy(), expected, rtol=1e-5)


def test_each_category_has_a_column_and_an_unseen_one_has_none():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    words = pd.Series(["red"] * 8).mask(pd.Series([False] * 7 + [True]))
    place = stratified(labels, 2, 0)
    words[np.flatnonzero(place == 0)[:1]] = "blue"  # in the rows to score alone
    features = pd.DataFrame({"x": np.arange(8.0), "colour": words.astype("category")})
    first, second = tabular.cut(TableRows(features, labels, ("a", "b"), "f"), 0, 2)
    assert first.test.inputs[0, 1:].sum() == 0
    assert (second.train.inputs[:, 1:].sum(dim=1) == 1).all()
    for rows in (second.train, second.test):
        assert rows.categorical == (slice(1, rows.inputs.shape[1]),)


class Watching(Method):
    """Keeps what the hooks are given."""

    name = "watching"

    def __init__(self):
        self.seen = []

    def __deepcopy__(self, memo):
        return self  # so that what copies saw is kept as well

    def resample(self, train, run):
        self.seen.append(train.inputs)
        return train

    def scores(self, scores, run):
        self.seen.append(run.train.inputs)
        return scores


def test_no_hook_is_given_a_row_to_score(small):
    marked = table()
    for k in (0, 1):
        place = stratified(marked.labels, 2, 7)
        held_out = changed(marked, np.flatnonzero(place == k), 1e6)
        fixed, spy = protocol(small), Watching()
        sheet = tabular.divide(fixed, 7, held_out).sheets[k]
        turn = tabular.Turn(fixed, Recipe(spy), sheet.given, "tree")
        turn.learn()
        turn.say(sheet.ask().inputs)
        assert spy.seen
        assert all((inputs < 1e4).all() for inputs in spy.seen)


def test_thresholds_are_set_on_real_rows_by_models_that_did_not_see_them(small):
    known = with_learners(small, knn="n_neighbors = 1")
    random = table((60, 60), seed=1, words=False)
    np.random.RandomState(0).shuffle(random.labels)
    fold = tabular.cut(random, 0, 3)[0]
    scores, labels = tabular._held_out(known, recipe("smote"), "knn", fold, 0)
    assert sorted(labels.tolist()) == sorted(fold.train.labels.tolist())
    assert 0.3 < (scores.argmax(dim=1) == labels).double().mean() < 0.7  # its own neighbour: 1.0


def test_a_threshold_moves_decisions_alone(small):
    # 40 rows of a rare class that overlaps, so that the best threshold is not one half
    rows = table((200, 40), words=False)
    plain, tuned = (
        tabular.run(protocol(small), recipe(text), 0, rows, CPU).details.parts["logistic"]
        for text in ("erm", "threshold")
    )
    assert plain.metrics["f1_tuned"] == tuned.metrics["f1"] == tuned.metrics["f1_tuned"]
    assert plain.metrics["f1"] != tuned.metrics["f1"]
    for name in ("brier", "average_precision", "auc", "log_loss"):
        assert plain.metrics[name] == tuned.metrics[name]
    assert tuned.timing.relative > 2  # the models that score held-out rows are its cost


def test_folds_share_each_class_evenly():
    labels = np.repeat([0, 1, 2, 3], [31, 10, 3, 1])
    place = stratified(labels, 2, 3)
    for c, (few, many) in enumerate([(15, 16), (5, 5), (1, 2)]):
        assert sorted(np.bincount(place[labels == c])) == [few, many]
    assert place[-1] == -1  # a single row is always fitted
    assert not np.array_equal(place, stratified(labels, 2, 4))
    assert np.array_equal(place, stratified(labels, 2, 3))


class Mixes(Method):
    """Hands back other inputs."""

    name = "mixes"

    def __init__(self, inputs=None):
        self.inputs = inputs

    def resample(self, train, run):
        return Rows(self.inputs, train.labels)


def test_rows_between_categories_go_to_the_nearer_one():
    counts = torch.tensor([2.0, 1.0])
    run = Run(counts, counts / 3, torch.zeros(()), Phase("main", 1, 0.1, 0.0))
    inputs, labels = torch.tensor([[5.0, 0, 0, 1], [1.0, 1, 0, 0]]), torch.tensor([0, 1])
    before = Rows(inputs, labels, categorical=(slice(1, 4),))
    mixed = torch.tensor([[3.0, 0.4, 0, 0.6], [2.0, 1, 0, 0]])
    found = tabular.OnTables(Mixes(mixed)).resample(before, run)
    assert found.inputs.tolist() == [[3.0, 0, 0, 1], [2.0, 1, 0, 0]]
    assert mixed[0].tolist() == pytest.approx([3.0, 0.4, 0, 0.6])  # the method's own stay


def test_sampling_weights_repeat_rows(small):
    rows = table((30, 10), words=False)
    fold = tabular.cut(rows, 0, 2)[0]
    fitted = tabular.fit(protocol(small), recipe("oversampling"), "tree", fold.train, fold, 0)
    assert fitted.run.train.labels.bincount().tolist() == [15, 15]
    assert fitted.run.passes == 30


class Draws(Method):
    """Draws rows by given weights of their classes, and the first row of all by one of its own."""

    name = "draws"

    def __init__(self, first=1.0, classes=(1.0, 2.0)):
        self.first, self.classes = first, classes

    def sampling_weights(self, labels, run):
        weights = torch.tensor(self.classes)[labels]
        weights[0] = self.first
        return weights


def test_rows_of_weight_zero_are_not_fitted(small):
    fold = tabular.cut(table((30, 10), words=False), 0, 2)[0]
    fitted = tabular.fit(protocol(small), Recipe(Draws(0.0)), "tree", fold.train, fold, 0)
    assert fitted.run.train.labels.bincount().tolist() == [14, 10]
    assert not (fitted.run.train.inputs == fold.train.inputs[0]).all(dim=1).any()


@pytest.mark.parametrize(
    ("first", "classes", "words"),
    [
        (1.0, (1.0, 0.0), "sampling weights leave class 1 without rows"),
        (0.0, (0.0, 0.0), "sampling weights leave class 0 without rows"),
        (-1.0, (1.0, 1.0), "sampling weights are negative or not finite"),
        (float("nan"), (1.0, 1.0), "sampling weights are negative or not finite"),
        (2.0**-20, (1.0, 1.0), "would have each row fitted 996,147 times"),
    ],
)
def test_sampling_weights_that_no_estimator_can_take_are_refused(small, first, classes, words):
    fold = tabular.cut(table((30, 10), words=False), 0, 2)[0]
    with pytest.raises(LTBenchError, match=words):
        tabular.fit(protocol(small), Recipe(Draws(first, classes)), "tree", fold.train, fold, 0)


@pytest.mark.parametrize("counts", [(51, 50), (50, 51), (40, 40), (21, 20)])
def test_one_class_is_the_rare_one_in_scores_and_in_thresholds(small, counts):
    """Folds of nearly equal classes have another rarer class than the table, or none."""
    rows = table(counts, words=False)
    for seed in range(3):
        plain, tuned = (
            tabular.run(protocol(small), recipe(text), seed, rows, CPU).details.parts["logistic"]
            for text in ("erm", "threshold")
        )
        assert plain.metrics["f1_tuned"] == tuned.metrics["f1"] == tuned.metrics["f1_tuned"]


def test_a_method_is_told_the_rare_class_of_the_whole_table(small):
    fold = tabular.cut(table((20, 21), words=False), 0, 2)[0]
    few = fold.train[
        torch.cat([(fold.train.labels == c).nonzero()[:n, 0] for c, n in ((0, 9), (1, 5))])
    ]
    run = tabular.fit(protocol(small), recipe("erm"), "tree", few, fold, 0).run
    assert run.counts.tolist() == [9, 5]
    assert run.positive == fold.positive == 0
    run.granted = replace(run.granted, positive=None)
    assert run.positive == 1


def test_a_column_that_is_constant_where_it_is_fitted_stays_small_where_it_is_scored():
    original = table((40, 20), words=False)
    place = stratified(original.labels, 2, 0)
    features = original.features.assign(b=0.1)
    features.loc[np.flatnonzero(place == 0)[:2], "b"] = [5.0, 1e6]
    fold = tabular.cut(TableRows(features, original.labels, original.classes, "f"), 0, 2)[0]
    assert fold.train.inputs[:, 1].abs().max() < 1e-6
    assert fold.test.inputs[:2, 1].tolist() == pytest.approx([4.9, tabular.APART])


def test_numbers_far_from_all_that_were_fitted_stay_within_reach_of_learners():
    original = table((40, 20), words=False)
    place = stratified(original.labels, 2, 0)
    rows = np.flatnonzero(place == 0)[:2]
    marked = changed(original, rows, [1e99, -1e99])
    fold = tabular.cut(marked, 0, 2)[0]
    assert fold.test.inputs[:, 0].abs().max() == tabular.LARGEST
    assert torch.isfinite(fold.test.inputs).all()


def test_a_class_that_has_rows_to_score_alone_is_refused_or_trained_around(small):
    known = with_learners(small, tree="", mlp="steps = 4")
    fold = tabular.cut(table((30, 12, 8), words=False), 0, 2)[0]
    rows = fold.train[fold.train.labels < 2]
    lacking = tabular.Fold(rows, fold.test, 3)
    with pytest.raises(LTBenchError, match="^class 2 has no training rows$"):
        tabular.fit(known, recipe("erm"), "tree", rows, lacking, 0)
    fitted = tabular.fit(known, recipe("balanced-softmax"), "mlp", rows, lacking, 0)
    assert fitted.predict(fold.test.inputs)[0].shape == (len(fold.test), 3)


def test_weights_have_mean_one(small, monkeypatch):
    given = {}

    class Learner:
        def fit(self, x, y, sample_weight):
            given["weight"], given["labels"] = sample_weight, y

        def predict_proba(self, x):
            return np.full((len(x), 2), 0.5)

    monkeypatch.setattr(tabular.learners, "build", lambda *given: Learner())
    fold = tabular.cut(table((30, 10)), 0, 2)[0]
    for text in ("class-weights", "inverse-frequency"):
        tabular.fit(protocol(small), recipe(text), "tree", fold.train, fold, 0)
        np.testing.assert_allclose(given["weight"].mean(), 1, rtol=1e-6)
        ratio = given["weight"][given["labels"] == 1][0] / given["weight"][0]
        np.testing.assert_allclose(ratio, 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "learner", "words"),
    [
        ("sam", "tree", "sam overrides step, which is never called around estimators"),
        (
            "deep-smote",
            "tree",
            "deep-smote overrides phases, which is never called around estimators",
        ),
        ("tau-norm", "tree", "the finish of tau-norm is not for estimators"),
        ("sade", "mlp", "sade needs test_inputs, which this table does not supply"),
        ("anyloss", "mlp", "anyloss needs two_classes, which this table does not supply"),
        ("class-weights", "knn", "KNeighborsClassifier weighs no rows, which class-weights asks"),
    ],
)
def test_what_would_be_passed_over_is_refused_by_name(small, text, learner, words):
    known = with_learners(small, **{learner: "steps = 4" if learner == "mlp" else ""})
    outcome = tabular.run(known, recipe(text), 0, table((20, 10, 5)), CPU)
    part = outcome.details.parts[learner]
    assert part.status == outcome.status == "skipped"
    assert words in part.reason


def test_methods_of_losses_and_steps_train_the_network(small):
    known = with_learners(small, mlp="steps = 20, widths = [8]")
    for text in ("ldam+drw", "sam", "focal", "smote+threshold"):
        part = tabular.run(known, recipe(text), 0, table((30, 12)), CPU).details.parts["mlp"]
        assert part.status == "ok", part.reason
        assert part.metrics["auc"] > 0.7


class Broken(Method):
    name = "broken"

    def weight(self, labels, run):
        raise RuntimeError("no weight")


def test_a_part_that_fails_costs_itself_alone(small):
    known = with_learners(small, tree="", knn="n_neighbors = 1000")
    outcome = tabular.run(known, recipe("erm"), 0, table(), CPU)
    assert outcome.details.parts["tree"].status == "ok"
    assert outcome.details.parts["knn"].status == outcome.status == "failed"
    broken = tabular.run(known, Recipe(Broken()), 0, table(), CPU).details.parts["tree"]
    line = Broken.weight.__code__.co_firstlineno + 1
    assert broken.status == "failed"
    assert broken.reason == f"RuntimeError: no weight (test_tabular.py, line {line})"


def test_one_seed_gives_one_result_and_another_another(small):
    known = with_learners(small, forest="n_estimators = 5", mlp="steps = 10")
    parts = [
        tabular.run(known, copy.deepcopy(recipe("smote")), seed, table((40, 9)), CPU).details.parts
        for seed in (0, 0, 1)
    ]
    metrics = [{name: part.metrics for name, part in one.items()} for one in parts]
    assert metrics[0] == metrics[1] != metrics[2]


def test_the_floor_is_always_run_and_a_bad_table_costs_its_own_cells(small, tmp_path):
    small.write_text(SMALL.replace("1570c9b303c0563f", "0" * 16))
    planned = plan(installed(), small, ["smote"], 1, tmp_path / "results")
    texts = {cell.recipe.text for cell in planned.cells}
    assert texts == {"erm", "class-weights", "threshold", "smote"}
    ended = [event.ended for event in execute(planned) if event.ended is not None]
    status = {(record.table, record.status) for record in ended}
    assert status == {("breast-cancer", "ok"), ("wine", "failed")}
    assert all("fingerprint" in r.reason for r in ended if r.table == "wine")
    path = path_of(tmp_path / "results", "small", "smote", 0, "breast-cancer")
    assert read(path) in ended
    again = plan(installed(), small, ["smote"], 1, tmp_path / "results")
    assert {cell.table for cell in again.todo} == {"wine"}  # what failed is tried again


def test_no_table_at_all_is_an_error(small, tmp_path):
    small.write_text(SMALL.replace("1570c9b303c0563f", "0" * 16).replace("bb3ef9", "aa3ef9"))
    with pytest.raises(LTBenchError, match="fingerprint"):
        plan(installed(), small, [], 1, tmp_path)


@pytest.mark.parametrize(
    ("learners", "words"),
    [
        ({"trees": ""}, "unknown learner 'trees'; did you mean 'tree'"),
        ({"tree": "depth = 3"}, "unknown parameter of tree 'depth'"),
        ({"mlp": "steps = 0"}, "learner mlp: expected int >= 1 - at steps"),
    ],
)
def test_a_learner_that_cannot_be_built_is_refused_at_once(small, tmp_path, learners, words):
    with_learners(small, **learners)
    with pytest.raises(LTBenchError, match=words):
        plan(installed(), small, [], 1, tmp_path)


def test_a_gpu_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(LTBenchError, match="runs on the cpu alone"):
        plan(installed(), small, [], 1, tmp_path, device="cuda")


def test_a_table_of_ones_own_is_run_by_name(small, tmp_path, ltbench):
    frame = table((30, 12)).features.assign(target=["no"] * 30 + ["yes"] * 12)
    frame.to_csv(tmp_path / "mine.csv", index=False)
    small.write_text(
        textwrap.dedent("""
            name = "mine"
            version = 1
            track = "tabular"
            description = "Mine."
            recipes = ["oversampling"]
            seeds = 2
            tables = {mine = {source = "mine", fingerprint = "any"}}
            learners = {tree = {}}
            compute = {threads = 1}
        """)
    )
    done = ltbench("run", small, "--data", f"mine={tmp_path / 'mine.csv'}", "--jobs", 1)
    assert done.exit_code == 0, done.output
    assert "`threshold`" in done.output and "`oversampling`" in done.output
    assert "Rows of each class: mine 30, 12." in done.output


def test_an_ensemble_of_estimators_is_refused_where_a_network_is_trained(tiny, tmp_path):
    plugin = tmp_path / "theirs.py"
    plugin.write_text(
        textwrap.dedent("""
            from ltbench import Method, hookimpl

            class Theirs(Method):
                '''Builds nothing.'''
                name = "theirs"
                models = frozenset({"estimator"})

                def build(self, model, run):
                    return model

            @hookimpl
            def register_methods(register):
                register(Theirs)
        """)
    )
    planned = plan(Registry([plugin]), tiny, ["theirs"], 1, tmp_path / "results")
    ended = [event.ended for event in execute(planned) if event.ended is not None]
    assert [(r.recipe, r.status, r.reason) for r in ended] == [
        ("erm", "ok", ""),
        ("theirs", "skipped", "theirs acts on estimators; tiny trains a network"),
    ]


@pytest.mark.parametrize("learner", ["lightgbm", "xgboost"])
def test_learners_of_other_libraries_are_fitted_like_those_of_scikit_learn(small, learner):
    pytest.importorskip(learner, reason="an optional extra")
    known = with_learners(small, **{learner: "n_estimators = 10"})
    for text in ("class-weights", "smote+threshold", "under-bagging"):
        first, again = (
            tabular.run(known, recipe(text), 0, table((60, 20)), CPU).details.parts[learner]
            for _ in range(2)
        )
        assert first.status == "ok", first.reason
        assert first.metrics == again.metrics


def test_a_library_that_is_not_installed_is_told(small, tmp_path, monkeypatch):
    with_learners(small, lightgbm="")
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(LTBenchError, match=r"lightgbm needs lightgbm: pip install 'ltbench\[trees"):
        plan(installed(), small, [], 1, tmp_path)


MINE = """
name = "mine"
version = 1
track = "tabular"
description = "Mine."
recipes = ["erm"]
seeds = 1
learners = {tree = {}}
compute = {threads = 1}

[tables]
ours = {source = "ours", fingerprint = "any"}
bad = {source = "bad", fingerprint = "any"}
"""


def test_a_table_of_ones_own_is_listed_and_told_of(tmp_path, ltbench):
    table((20, 8)).features.assign(target=["no"] * 20 + ["yes"] * 8).to_csv("ours.csv")
    given = ("--data", "ours=ours.csv")
    told = ltbench("info", "ours", *given)
    assert told.exit_code == 0, told.output
    assert "kind:            table" in told.stdout and "rows:            28" in told.stdout
    assert "ours" in ltbench("list", "datasets", *given).stdout.split()
    assert '"ours"' in ltbench("list", "datasets", *given, "--json").stdout
    wrong = ltbench("info", "ours", "--data", "ours=none.csv")
    assert wrong.exit_code == 2
    assert "none.csv cannot be read as a table: No such file" in wrong.stderr


def test_what_was_made_of_a_table_is_told_before_a_cell_runs(tmp_path, ltbench):
    frame = table((20, 8)).features.assign(target=["no"] * 20 + ["yes"] * 8)
    frame.to_csv("ours.csv")
    (tmp_path / "bad.csv").write_text("x,target\n1,a\n2\n")
    (tmp_path / "mine.toml").write_text(MINE)
    words = ("run", "mine.toml", "--data", "ours=ours.csv", "--data", "bad=bad.csv", "--dry-run")
    done = ltbench(*words)
    assert done.exit_code == 0, done.output
    assert "ours: columns left out as the numbers of rows: Unnamed: 0" in done.stderr
    assert "bad: bad.csv cannot be read as a table: line 3 has 1 fields" in done.stderr


def test_a_dry_run_counts_tables_and_names_one(ltbench):
    done = ltbench("run", "tabular-embedded", "-m", "erm", "--seeds", 2, "--dry-run")
    assert "erm: seeds 0, 1 on 4 tables\n" in done.stdout, done.output
    told = json.loads(
        ltbench("run", "tabular-embedded", "--seeds", 1, "--dry-run", "--json").stdout
    )
    assert {cell["table"] for cell in told["todo"]} == set(protocol("tabular-embedded").tables)


def test_a_table_is_no_data_set_of_pictures(tiny, tmp_path, ltbench):
    (tmp_path / "ours.csv").write_text("x,target\n1,a\n2,b\n")
    tiny.write_text(tiny.read_text().replace('source = "digits"', 'source = "ours"'))
    done = ltbench("run", tiny, "--data", "ours=ours.csv", "--dry-run")
    assert done.exit_code == 2
    assert "ours is no data set of images or features, but a table" in done.stderr


def test_no_trial_fits_or_validates_a_row_that_its_fold_scores():
    numbers = np.arange(60, dtype=np.float64)[:, None]
    labels = np.repeat([0, 1], [40, 20])
    table = TableRows(pd.DataFrame(numbers, columns=["x"]), labels, ("a", "b"), "told")
    for whole, trial in zip(
        tabular.cut(table, 0, 3), tabular.cut(table, 0, 3, share=0.2), strict=True
    ):
        assert (len(whole.train), len(whole.test)) == (30, 30)
        assert trial.train.labels.bincount().tolist() == [16, 8]
        assert trial.test.labels.bincount().tolist() == [4, 2]
    # standardised by the rows to fit alone, so that rows are told apart by their rank
    place = stratified(labels, 2, 0)
    for k, trial in enumerate(tabular.cut(table, 0, 3, share=0.2)):
        kept = numbers[place != k, 0]
        inputs = torch.cat([trial.train.inputs, trial.test.inputs])[:, 0].double()
        told = (inputs - inputs.mean()) / inputs.std()
        expected = torch.from_numpy((kept - kept.mean()) / kept.std(ddof=1))
        assert torch.allclose(told.sort().values, expected.sort().values, atol=1e-5)


def test_each_fold_has_the_setting_that_was_chosen_for_it(small):
    found = protocol(small)
    track, table = installed().track("tabular"), tabular.load(Registry(), found)["wine"]
    cell = partial(Cell, track, found, seed=0, fingerprint="", origins={}, table="wine")
    records = []
    for text in ("smote(neighbours=2)", "smote(neighbours=7)"):
        record, _ = run_cell(cell(recipe=recipe(text)), table, CPU)
        records.append(record)
    first, second = (record.details["parts"]["tree"]["folds"] for record in records)
    joined = track.joined(records)
    part = joined.details["parts"]["tree"]
    assert part["metrics"]["f1"] == pytest.approx((first[0]["f1"] + second[1]["f1"]) / 2)
    of_learners = [one["metrics"]["f1"] for one in joined.details["parts"].values()]
    assert joined.measures["f1"] == pytest.approx(sum(of_learners) / 2)
    works = [record.timing.reference_work for record in records]
    assert joined.timing.reference_work == pytest.approx(sum(works) / 2, rel=1e-3)
    assert track.joined([records[0], records[0]]) is records[0]
    judged = track.judged(found, records[0])
    parts = records[0].details["parts"].values()
    assert judged == [pytest.approx(sum(p["folds"][k]["f1"] for p in parts) / 2) for k in (0, 1)]


def test_recipes_are_tuned_on_tables(small, tmp_path, ltbench):
    words = ("--results", tmp_path / "out", "--jobs", 1, "--json")
    done = ltbench("tune", small, "-m", "smote", "--trials", 2, "--seeds", 2, *words)
    assert done.exit_code == 0, done.stderr
    board = json.loads(done.stdout)
    assert board["over"] == "tables"
    for row in board["rows"]:
        assert row["choices"] == 2 * 2 * 2  # seeds, tables, folds
        gap = row["value"]["mean"] - row["default"]["mean"]
        assert row["regret"]["mean"] == pytest.approx(gap, abs=1e-5)
