"""Losses and results in TensorBoard: curves of all cells, side by side."""

from pathlib import Path

from ltbench import LTBenchError, Observer, hookimpl
from ltbench.running.observers import numbers


class TensorBoard(Observer):
    """Writes event files to tensorboard=FOLDER ("runs" without one), a folder for each cell."""

    def __init__(self, argument=""):
        super().__init__(argument)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            told = "tensorboard is not installed; pip install 'ltbench[tensorboard]' brings it"
            raise LTBenchError(told) from None
        self.writer, self.folder = SummaryWriter, Path(argument or "runs")
        self.writers, self.epochs = {}, {}

    def run_began(self, plan):
        self.folder = self.folder / plan.protocol.name

    def cell_began(self, cell):
        self.writers[str(cell)] = self.writer(str(self.folder / str(cell).replace("/", "-")))

    def epoch(self, cell, epoch):
        if epoch.loss is not None:
            self.epochs[str(cell)] = epoch.epoch
            self.writers[str(cell)].add_scalar("loss", epoch.loss, epoch.epoch)

    def note(self, cell, text):
        self.writers[str(cell)].add_text("note", text)

    def cell_ended(self, record):
        with self.writers.pop(str(record)) as writer:
            last = self.epochs.pop(str(record), 0)
            writer.add_text("status", f"{record.status} {record.reason}".strip())
            for name, value in numbers(record).items():
                writer.add_scalar(f"test/{name}", value, last)

    def run_ended(self, records):
        for writer in self.writers.values():
            writer.close()


@hookimpl
def register_observers(register):
    register("tensorboard", TensorBoard)
