"""Rows of tables that a user's language model writes (after EPIC: Kim et al., NeurIPS 2024)."""

import hashlib
import math
import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from string import ascii_lowercase, digits
from threading import Thread
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from ltbench import LTBenchError, Method, Positive, Rows, hookimpl

Count = Annotated[int, Meta(ge=1)]
ALPHABET = ascii_lowercase + digits
WORDS = [a + b + c for a in ascii_lowercase for b in ALPHABET for c in ALPHABET]
LONGEST = 1_000_000  # of a reply, in bytes; a generator that writes more has no end
FRUITLESS = 3  # calls in a row without a row to take, after which no more are made
COPIES, FULL = "copies of training rows", "rows of a class that has enough"


class LLMRows(Method):
    """Adds rows that `generator` writes, as many of each class, until there are `rows` more.

    The generator is a command, started anew for each call; it reads a prompt from its input and
    writes on from where that ends, for `seconds` at most. `{seed}` in it becomes a number that
    differs by call. It runs within the bounds of memory and time that its cell has, and once more
    for each inner fold. Without a generator no rows are added.

    The prompt is the source's: a line that says what columns there are, then `sets` groups of a
    header, and for each class a letter and `shots` rows as CSV, drawn anew for each call and none
    twice where a class has enough; at its end a header. So classes are even in it whatever the
    data, and it holds nothing but training rows. These are rows as learners take them: numbers are
    standardised, with four figures, and named x1, x2 and on, as names of columns are not handed to
    methods. The columns of 0 and 1 that stand for one category are one place; categories and
    classes are random words of a letter and two letters or digits, as in the source, so that
    nothing leans on what the generator knows of names.

    Of a reply, lines are taken that have a number or a known word in each place. Numbers are not
    held to any range, as in the source. What is left out is counted by reason. Our choices: exact
    copies of training rows are left out, as they are what oversampling gives; rows of a class stop
    at its part of `rows`; after three calls in a row without a row to take nothing more is asked,
    which is an error where there is none at all. A note tells the digest of the files that the
    command names, those of prompts and replies, calls, lines, and the counts.

    A generator that only moves the numbers of rows in the prompt is a form of oversampling; a
    language model has to do better than such a one to have told anything.
    """

    name = "llm-rows"
    reference = "arXiv:2404.12404"
    corrects = "prior"
    neutral = {"generator": None}

    def __init__(
        self,
        generator: str | None = None,
        rows: Count = 1000,
        sets: Count = 4,
        shots: Count = 15,
        seconds: Positive = 60.0,
    ):
        self.generator = generator
        self.rows = rows
        self.sets = sets
        self.shots = shots
        self.seconds = seconds

    def resample(self, train, run):
        if self.generator is None:
            run.note("no generator is given, so no rows are added")
            return train
        if train.inputs.dim() != 2:
            shape = [*train.inputs.shape[1:]]
            raise LTBenchError(f"llm-rows writes rows of tables, and rows of {shape} are none")
        table = Table(train, run)
        told, prompts, replies = Counter(), hashlib.sha256(), hashlib.sha256()
        known = set(map(tuple, table.lines))
        wanted = -(-self.rows // len(table.classes))
        added = {c: [] for c in table.classes}
        fruitless = 0
        while any(len(rows) < wanted for rows in added.values()) and fruitless < FRUITLESS:
            prompt = table.prompt(self.sets, self.shots, run)
            seed = int(torch.randint(2**31, (), generator=run.rng, device=run.device))
            reply = continued(self.generator, seed, prompt, self.seconds)
            prompts.update(prompt.encode())
            replies.update(reply.encode())
            told["calls"] += 1
            fruitless += 1
            for line in reply.removeprefix(prompt).splitlines():
                row = table.row(line)
                if row is None:
                    continue
                told["lines"] += 1
                if isinstance(row, str):
                    told[row] += 1
                elif tuple(fields(line)) in known:
                    told[COPIES] += 1
                elif len(added[row[1]]) >= wanted:
                    told[FULL] += 1
                else:
                    added[row[1]].append(row[0])
                    fruitless = 0
        left_out = [f"{n} {why}" for why, n in told.items() if why not in ("calls", "lines")]
        if not any(added.values()):
            raise LTBenchError(
                f"llm-rows: {self.generator!r} wrote no row to take in {told['calls']} calls "
                f"({', '.join(left_out) or 'it wrote nothing'})"
            )
        digest = [one.hexdigest()[:12] for one in (files(self.generator), prompts, replies)]
        counts = ", ".join(str(len(rows)) for rows in added.values())
        run.note(
            "generator {}, prompts {}, replies {}; ".format(*digest)
            + f"{told['calls']} calls, {told['lines']} lines; rows added, by class: {counts}; "
            + f"left out: {', '.join(left_out) or 'none'}"
        )
        inputs = [row for rows in added.values() for row in rows]
        labels = [c for c, rows in added.items() for _ in rows]
        made = torch.from_numpy(np.array(inputs)).to(train.inputs)
        labels = torch.tensor(labels).to(train.labels)
        return Rows(torch.cat([train.inputs, made]), torch.cat([train.labels, labels]))


class Table:
    """Training rows as text, and text as rows."""

    def __init__(self, train, run):
        inputs, labels = train.inputs.cpu().numpy(), train.labels.cpu().numpy()
        self.width, self.classes = inputs.shape[1], np.unique(labels).tolist()
        spans = {span.start: range(*span.indices(self.width)) for span in train.categorical}
        inside = {column for span in spans.values() for column in span}
        self.columns = [
            spans.get(column, column)
            for column in range(self.width)
            if column in spans or column not in inside
        ]  # the place of a number, or those of a category
        sizes = [1 if isinstance(one, int) else len(one) for one in self.columns]
        drawn = torch.randperm(len(WORDS), generator=run.rng, device=run.device).tolist()
        if sum(sizes) + len(self.classes) > len(WORDS):
            raise LTBenchError(f"llm-rows has {len(WORDS)} words for categories, which are more")
        words = iter(WORDS[k] for k in drawn)
        self.words = [
            None if isinstance(one, int) else {next(words): place for place in one}
            for one in self.columns
        ]
        self.words.append({next(words): c for c in self.classes})
        self.names = [f"x{k + 1}" for k in range(len(self.columns))] + ["class"]
        self.lines = [self.written(*row) for row in zip(inputs, labels, strict=True)]
        self.of = {c: np.flatnonzero(labels == c) for c in self.classes}

    def written(self, inputs, label):
        """The fields of a row."""
        told = []
        for column, words in zip(self.columns, self.words, strict=False):
            if words is None:
                told.append(f"{inputs[column]:.4g}")
            else:
                told.append(list(words)[int(inputs[list(column)].argmax())])
        return [*told, {c: word for word, c in self.words[-1].items()}[label]]

    def prompt(self, sets, shots, run):
        """The text that a generator goes on with."""
        kinds = ("a number" if words is None else "a category" for words in self.words)
        header = ",".join(self.names)
        about = (f"{name} is {kind}" for name, kind in zip(self.names, kinds, strict=True))
        told = ["Rows of a table: " + ", ".join(about)]
        chosen = {c: picked(self.of[c], sets * shots, run) for c in self.classes}
        for part in range(sets):
            told.append(header)
            for k, c in enumerate(self.classes):
                rows = chosen[c][part * shots : (part + 1) * shots]
                told += [f"{letters(k)}.", *(",".join(self.lines[n]) for n in rows)]
        return "\n".join([*told, header, ""])

    def row(self, line):
        """Inputs [D] and class of a line; why it is none; or None for what parts the rows."""
        told = fields(line)
        if told in ([""], self.names) or re.fullmatch(r"[A-Z]+\.", line.strip()):
            return None
        if len(told) != len(self.names):
            return "of another width"
        if "" in told:
            return "with an empty place"
        inputs = np.zeros(self.width, dtype=np.float32)
        for text, column, words in zip(told, self.columns, self.words, strict=False):
            if words is None:
                inputs[column] = number(text)
            elif text in words:
                inputs[words[text]] = 1
            else:
                return "with an unknown category"
        if not np.isfinite(inputs).all():
            return "with no number in the place of one"
        label = self.words[-1].get(told[-1])
        return "of an unknown class" if label is None else (inputs, label)


def picked(rows, n, run):
    """So many of the rows, none twice unless they are fewer."""
    if len(rows) < n:
        return rows[torch.randint(len(rows), (n,), generator=run.rng, device=run.device).cpu()]
    return rows[torch.randperm(len(rows), generator=run.rng, device=run.device)[:n].cpu()]


def letters(k):
    """A, B, ..., Z, AA, AB, and on."""
    return ("" if k < 26 else letters(k // 26 - 1)) + chr(ord("A") + k % 26)


def fields(line):
    return [field.strip() for field in line.split(",")]


def number(text):
    """The number that a text is in float32; not finite where it is none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) < torch.finfo(torch.float32).max else math.nan


def words_of(command):
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise LTBenchError(f"llm-rows: {command!r} is no command: {error}") from None
    if not words:
        raise LTBenchError("llm-rows: an empty text is no command")
    return words


def files(command):
    """A digest of the files that a command names, which tells its version where it has no other."""
    digest = hashlib.sha256()
    for word in words_of(command):
        file = Path(shutil.which(word) or word)
        if file.is_file():
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest


def continued(command, seed, prompt, seconds):
    """What a command writes that is given the prompt.

    Raises:
        LTBenchError: it cannot be started, fails, or finds no end.
    """
    words = [word.replace("{seed}", str(seed)) for word in words_of(command)]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise LTBenchError(f"llm-rows: {command!r} cannot be started: {error.strerror}") from None
    told = {}

    def read(name, stream):
        told[name] = stream.read(LONGEST + 1)

    def write():
        try:
            with process.stdin:
                process.stdin.write(prompt.encode())
        except BrokenPipeError:
            pass  # it does not read to the end, which is its affair

    works = [(read, ("out", process.stdout)), (read, ("err", process.stderr)), (write, ())]
    threads = [Thread(target=work, args=given, daemon=True) for work, given in works]
    for thread in threads:
        thread.start()
    threads[0].join(seconds)
    try:
        if threads[0].is_alive():
            raise LTBenchError(f"llm-rows: {command!r} was not done after {seconds:g} seconds")
        if len(told["out"]) > LONGEST:
            raise LTBenchError(f"llm-rows: {command!r} writes more than {LONGEST:,} bytes")
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise LTBenchError(f"llm-rows: {command!r} does not end") from None
    finally:
        process.kill()
        process.wait()
        for thread, stream in zip(threads, (process.stdout, process.stderr), strict=False):
            thread.join(1)  # longer only where something that it started still holds the pipe
            if not thread.is_alive():
                stream.close()
    if status:
        last = told.get("err", b"").decode(errors="replace").strip().splitlines()[-1:]
        raise LTBenchError(": ".join([f"llm-rows: {command!r} ended with status {status}", *last]))
    return told["out"].decode(errors="replace")


@hookimpl
def register_methods(register):
    register(LLMRows)
