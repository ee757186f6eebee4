"""Eleven cheats as methods: each tries to get at what it must not know, and else plays fair."""

import gc
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ltbench import Method, Unmet, hookimpl


class Cheat(Method):
    """Trains plainly; says in a note what it got."""

    reference = "none: a test"

    def tells(self, run, what, got):
        """Something that was tried; what it raises is got as well."""
        try:
            run.note(f"{what}: {got()}")
        except BaseException as error:
            run.note(f"{what}: {type(error).__name__}")


class Recorder(nn.Module):
    """A network that keeps what goes through it when it does not train."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.head, self.seen = inner, inner.head, []

    def features(self, inputs):
        self.seen.append(inputs.detach().clone())
        return self.inner.features(inputs)


class Loader(Cheat):
    """Reads the data anew and looks up each test image."""

    name = "loader"

    def finish(self, model, validation, run):
        self.model = Recorder(model)
        return self.model

    def decide(self, scores, run):
        def read():
            from sklearn.datasets import load_digits

            digits = load_digits()
            known = {row.tobytes(): k for row, k in zip(digits.data, digits.target, strict=True)}
            rows = torch.cat(self.model.seen).flatten(1).mul(16).double().numpy()
            self.found = torch.tensor([known[row.tobytes()] for row in rows])
            return "labels"

        self.found = None
        self.tells(run, "loader", read)
        return scores.argmax(1) if self.found is None else self.found


class Collector(Cheat):
    """Looks through all that this process holds for labels of as many rows as it is asked."""

    name = "collector"

    def decide(self, scores, run):
        def look():
            for one in gc.get_objects():
                if type(one).__name__ in ("Parts", "Dataset") and callable(
                    getattr(one, "test", None)
                ):
                    self.found = one.test().labels
                    return "labels"
                if type(one).__name__ == "Dataset":
                    return "data"
            return "nothing"

        self.found = None
        self.tells(run, "collector", look)
        return scores.argmax(1) if self.found is None else self.found


class Frames(Cheat):
    """Walks up the frames as it trains, and asks for test rows before it has trained."""

    name = "frames"

    def resample(self, train, run):
        def walk():
            frame, found = sys._getframe(), []
            while frame is not None:
                for name, one in frame.f_locals.items():
                    if name == "ask":
                        found += [key for key, held in vars(one()).items() if held is not None]
                    if type(one).__name__ == "Dataset":
                        found.append("data")
                frame = frame.f_back
            return " ".join(sorted(set(found))) or "nothing"

        self.tells(run, "frames", walk)
        return train


class Order(Cheat):
    """Says 0, 0, ..., 1, 1, ..., as rows stand in many a test split."""

    name = "order"

    def decide(self, scores, run):
        each = -(-len(scores) // run.num_classes)
        return torch.arange(run.num_classes).repeat_interleave(each)[: len(scores)]


class Portion(Cheat):
    """Averages over neighbours, which are of one class in many a test split."""

    name = "portion"

    def scores(self, scores, run):
        return (scores + scores.roll(1, 0) + scores.roll(-1, 0)) / 3


class OldRecords(Cheat):
    """Takes the labels that earlier records keep."""

    name = "old-records"

    def decide(self, scores, run):
        def read():
            (file, *_) = sorted(Path("leaderboards").rglob("*.npz"))
            self.found = torch.from_numpy(np.load(file)["labels"].astype("int64"))
            return "labels"

        self.found = None
        self.tells(run, "old records", read)
        return scores.argmax(1) if self.found is None else self.found


class Trains(Cheat):
    """Adds the test rows to those it trains on."""

    name = "trains"

    def resample(self, train, run):
        from ltbench.registry.registry import installed

        def add():
            data = installed().dataset("digits")()
            self.rows = data.train
            return "data"

        self.rows = train
        self.tells(run, "trains", add)
        return self.rows


class Metric(Cheat):
    """Replaces what measures it."""

    name = "metric"

    def finish(self, model, validation, run):
        from ltbench.scoring import metrics

        metrics.balanced_accuracy = lambda *given: 0.999
        metrics.scored = lambda *given: {"balanced_accuracy": 0.999}
        return model


class Rewrites(Cheat):
    """Rewrites the records of others, and removes what it can."""

    name = "rewrites"

    def finish(self, model, validation, run):
        def write():
            for file in Path("leaderboards").rglob("erm/*.json"):
                file.write_text("{}")
                file.unlink()
            return "written"

        self.tells(run, "rewrites", write)
        self.tells(run, "makes", lambda: Path("leaderboards/mine.json").write_text("{}"))
        return model


class Picky(Cheat):
    """Leaves out the seeds that it does not like."""

    name = "picky"

    def resample(self, train, run):
        if run.seed == 1:
            raise Unmet("not this seed")
        return train


class Clock(Cheat):
    """Moves the clock that tells its cost."""

    name = "clock"

    def finish(self, model, validation, run):
        from ltbench.training import timing

        timing._aside[0] += 1000
        timing._aside[1] += 1000
        return model


class Memory(Cheat):
    """Reads the memory of the processes that started it, and would end them."""

    name = "memory"

    def finish(self, model, validation, run):
        self.tells(run, "parent", lambda: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))
        for other in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
            try:
                parent = Path(f"/proc/{other}/stat").read_text().rpartition(") ")[2].split()[1]
            except OSError:
                continue
            if int(parent) == os.getppid() and other != os.getpid():
                self.tells(run, "keeper", partial(os.open, f"/proc/{other}/mem", os.O_RDONLY))
                self.tells(run, "signal", partial(os.kill, other, 0))
        return model


@hookimpl
def register_methods(register):
    for cheat in (
        *(Loader, Collector, Frames, Order, Portion, OldRecords, Trains, Metric, Rewrites),
        *(Picky, Clock, Memory),
    ):
        register(cheat)
