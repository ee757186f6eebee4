import re
import shlex
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from resampling import clouds, resampled

from ltbench import LTBenchError, Rows, recipe
from ltbench.testing.probes import probe_run
from ltbench_plugins.tables.llm_rows import LLMRows, Table, continued, letters, picked

# goes on with rows of its prompt whose numbers are moved a little; every seventh line is damaged
JITTER = """
import random, re, sys

chance = random.Random(int(sys.argv[1]))
header, rows = None, []
for line in sys.stdin.read().splitlines()[1:]:
    if line.endswith(",class"):
        header = line
    elif "," in line:
        rows.append(line.split(","))
for k in range(60):
    row = list(chance.choice(rows))
    for n, text in enumerate(row):
        if re.fullmatch(r"-?[0-9.]+(e[-+][0-9]+)?", text):
            row[n] = f"{float(text) + chance.gauss(0, 0.1):.4f}"
    if k % 7 == 0:
        row = row[1:]
    if k % 15 == 0:
        print("A.")
        print(header)
    print(",".join(row))
"""


@pytest.fixture
def command(tmp_path):
    """Makes a generator of the source of a program, as the command that starts it."""

    def make(source, *words):
        file = tmp_path / f"generator_{len(list(tmp_path.iterdir()))}.py"
        file.write_text(source)
        return shlex.join([sys.executable, str(file), *words])

    return make


def mixed(counts=(40, 6)):
    """Rows of two numbers around a category of three values, and the place of that."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    chance = torch.Generator().manual_seed(0)
    numbers = torch.randn(len(labels), 2, generator=chance) + labels[:, None]
    codes = torch.randint(3, (len(labels),), generator=chance)
    one_hot = torch.nn.functional.one_hot(codes, 3).float()
    inputs = torch.cat([numbers[:, :1], one_hot, numbers[:, 1:]], dim=1)
    return Rows(inputs, labels), (slice(1, 4),)


def table(train, categorical=(), seed=0):
    run = probe_run(recipe("erm"), train.labels.bincount(), torch.float32)
    run.rng.manual_seed(seed)
    return Table(replace(train, categorical=categorical), run), run


def test_without_a_generator_the_rows_stay_as_they_are():
    train = clouds((9, 3))
    rows, run = resampled(LLMRows(), train)
    assert rows is run.train
    assert run.notes == ["no generator is given, so no rows are added"]


def test_the_prompt_holds_groups_in_which_classes_are_even():
    train, categorical = mixed()
    text, run = table(train, categorical)
    prompt = text.prompt(4, 15, run)
    first, *lines = prompt.splitlines()
    assert first == "Rows of a table: x1 is a number, x2 is a category, x3 is a number, " + (
        "class is a category"
    )
    assert prompt.endswith("x1,x2,x3,class\n")
    group = ["x1,x2,x3,class", "A.", *15 * ["row"], "B.", *15 * ["row"]]
    kinds = [line if line in group else "row" for line in lines]
    assert kinds == [*4 * group, "x1,x2,x3,class"]
    words = [line.split(",")[3] for line in lines if line.count(",") == 3][1:]
    for k in range(0, 33 * 4, 33):
        names = {line.split(",")[3] for line in lines[k + 2 : k + 17]}
        assert len(names) == 1
    assert len(set(words) - {"class"}) == 2


def test_rows_of_a_class_come_twice_in_a_prompt_only_where_it_is_short():
    train, categorical = mixed((80, 6))
    text, run = table(train, categorical)
    assert len(set(picked(text.of[0], 60, run).tolist())) == 60
    short = picked(text.of[1], 60, run).tolist()
    assert len(short) == 60
    assert set(short) == set(text.of[1].tolist())


def test_a_prompt_holds_training_rows_and_nothing_else():
    train, categorical = mixed()
    text, run = table(train, categorical)
    known = {",".join(line) for line in text.lines}
    lines = text.prompt(2, 3, run).splitlines()[1:]
    rows = [line for line in lines if "," in line and line != "x1,x2,x3,class"]
    assert len(rows) == 12
    assert set(rows) <= known


def test_names_of_categories_and_classes_are_random_words():
    train, categorical = mixed()
    first, again, other = (table(train, categorical, seed)[0] for seed in (0, 0, 1))
    words = [word for one in first.words if one for word in one]
    assert len(set(words)) == 5
    assert all(re.fullmatch("[a-z][a-z0-9]{2}", word) for word in words)
    assert first.words == again.words != other.words


def test_what_is_written_of_a_row_is_read_as_it():
    train, categorical = mixed()
    text, _ = table(train, categorical)
    for k, line in enumerate(text.lines):
        inputs, label = text.row(" , ".join(line))
        assert inputs == pytest.approx(train.inputs[k].numpy(), abs=1e-3)
        assert (inputs[1:4] == train.inputs[k, 1:4].numpy()).all()
        assert label == train.labels[k]


def test_lines_that_are_no_rows_are_told_by_reason():
    train, categorical = mixed()
    text, _ = table(train, categorical)
    category, label = (next(iter(words)) for words in text.words if words)
    assert text.row(f"0.5,{category},-1e2,{label}")[0][4] == -100
    assert [text.row(line) for line in ("", "x1,x2,x3,class", "B.", "AA.")] == [None] * 4
    assert text.row(f"0.5,{category},1") == "of another width"
    assert text.row("Sure, here are rows") == "of another width"
    assert text.row(f"0.5,{category},,{label}") == "with an empty place"
    assert text.row(f"0.5,???,1,{label}") == "with an unknown category"
    assert text.row(f"0.5,{category},1,???") == "of an unknown class"
    for wrong in ("one", "nan", "inf", "-1e39"):
        assert text.row(f"{wrong},{category},1,{label}") == "with no number in the place of one"


def test_groups_of_many_classes_have_letters_like_columns_of_sheets():
    assert [letters(k) for k in (0, 25, 26, 51, 52, 702)] == ["A", "Z", "AA", "AZ", "BA", "AAA"]


def test_rows_that_a_generator_writes_are_added_evenly(command):
    train, categorical = mixed()
    method = LLMRows(command(JITTER, "{seed}"), rows=100)
    rows, run = resampled(method, train, categorical=categorical)
    assert torch.equal(rows.inputs[: len(train)], train.inputs)
    assert rows.labels[len(train) :].bincount().tolist() == [50, 50]
    made = rows.inputs[len(train) :]
    assert (made[:, 1:4].sum(dim=1) == 1).all()
    for c in (0, 1):  # moved by a tenth, they are near where the class is
        near = torch.cdist(made[rows.labels[len(train) :] == c], train.inputs[train.labels == c])
        assert near.amin(dim=1).max() < 0.7
    (note,) = run.notes
    pattern = r"generator \w{12}, prompts \w{12}, replies \w{12}; (\d+) calls, (\d+) lines; .*"
    calls, lines = map(int, re.fullmatch(pattern, note).groups())
    assert lines == 60 * calls
    assert "rows added, by class: 50, 50; left out: " in note
    assert f"{9 * calls} of another width" in note


def test_the_same_seed_gives_the_same_rows_and_the_note_tells_when_the_generator_changes(command):
    train, categorical = mixed()
    given = command(JITTER, "{seed}")
    (first, run), (again, same) = (
        resampled(LLMRows(given, rows=20), train, categorical=categorical) for _ in range(2)
    )
    other, _ = resampled(LLMRows(given, rows=20), train, seed=1, categorical=categorical)
    assert torch.equal(first.inputs, again.inputs)
    assert run.notes == same.notes
    assert not torch.equal(first.inputs, other.inputs)
    changed = command(JITTER + "\n", "{seed}")
    _, newer = resampled(LLMRows(changed, rows=20), train, categorical=categorical)
    before, after = (one.notes[0].split(", prompts ") for one in (run, newer))
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_generator_that_knows_one_class_alone_ends_with_what_it_gave(command):
    train = clouds((30, 30))
    one = JITTER.replace(
        '    print(",".join(row))', '    row[-1:] = rows[0][-1:]\n    print(",".join(row))'
    )
    rows, run = resampled(LLMRows(command(one, "{seed}"), rows=40), train)
    assert sorted(rows.labels[60:].bincount(minlength=2).tolist()) == [0, 20]
    assert "rows of a class that has enough" in run.notes[0]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("", r"wrote no row to take in 3 calls \(it wrote nothing\)"),
        (
            "import sys; print(sys.stdin.read(), end='')",
            r"wrote no row to take in 3 calls \(it wrote nothing\)",
        ),
        (
            "import sys; print('Sure!\\n' + sys.stdin.read())",
            r"wrote no row to take in 3 calls \(.*360 copies of training rows\)",
        ),
        ("print('I cannot help with that.\\n' * 5)", r"in 3 calls \(15 of another width\)"),
        ("import sys; sys.exit('no model here')", "ended with status 1: no model here$"),
        ("import time; time.sleep(60)", "was not done after 2 seconds"),
        ("while True: print('1,2,3,abc' * 1000)", "writes more than 1,000,000 bytes"),
        (
            "import os, time; os.close(1); time.sleep(60)",
            "does not end",
        ),
    ],
)
def test_hostile_generators_end_in_a_sentence(command, source, told):
    with pytest.raises(LTBenchError, match=told) as refused:
        resampled(LLMRows(command(source), seconds=2.0), clouds((70, 70)))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("no-such-program-anywhere", "cannot be started: No such file or directory"),
        ("'unclosed", "is no command: No closing quotation"),
        (" ", "an empty text is no command"),
    ],
)
def test_what_is_no_command_is_refused_in_a_sentence(words, told):
    with pytest.raises(LTBenchError, match=told):
        resampled(LLMRows(words), clouds((9, 3)))


def test_images_are_refused_in_a_sentence():
    images = Rows(torch.zeros(4, 1, 3, 3), torch.tensor([0, 0, 0, 1]))
    with pytest.raises(LTBenchError, match=r"rows of \[1, 3, 3\] are none"):
        resampled(LLMRows("true"), images)


def test_a_prompt_reaches_a_generator_whole_even_where_it_writes_first(command):
    given = command("import sys; print('x' * 300000); print(len(sys.stdin.read()))")
    assert continued(given, 0, "y" * 400000, 20.0).split() == ["x" * 300000, "400000"]


def test_a_generator_that_reads_nothing_is_heard(command):
    assert continued(command("print('a,b')"), 0, "y" * 400000, 20.0) == "a,b\n"


def test_whole_numbers_stay_whole(command):
    train = clouds((30, 20))
    whole = Rows((10 * train.inputs).round().to(torch.int64), train.labels)
    rows, _ = resampled(LLMRows(command(JITTER, "{seed}"), rows=10), whole)
    assert rows.inputs.dtype == torch.int64
    assert np.abs(rows.inputs.numpy()).max() < 100
