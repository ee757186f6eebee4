"""Losses and results in MLflow: an experiment for each protocol, a run for each cell."""

import os
from pathlib import Path

from ltbench import LTBenchError, Observer, hookimpl
from ltbench.running.observers import numbers


class MLflow(Observer):
    """Logs to mlflow=FOLDER ("mlruns" without one), or to a tracking server by its address."""

    def __init__(self, argument=""):
        super().__init__(argument)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder needs no database
        try:
            from mlflow import MlflowClient
        except ImportError:
            told = "mlflow is not installed; pip install 'ltbench[mlflow]' brings it"
            raise LTBenchError(told) from None
        where = argument or "mlruns"
        self.client = MlflowClient(where if ":" in where else Path(where).absolute().as_uri())
        self.runs = {}

    def run_began(self, plan):
        name = plan.protocol.name
        found = self.client.get_experiment_by_name(name)
        self.experiment = found.experiment_id if found else self.client.create_experiment(name)

    def cell_began(self, cell):
        run = self.client.create_run(self.experiment, run_name=str(cell))
        self.runs[str(cell)] = run.info.run_id
        told = {"recipe": cell.recipe.text, "seed": cell.seed, "table": cell.table}
        for name, value in told.items():
            if value != "":
                self.client.log_param(run.info.run_id, name, value)
        self.client.set_tag(run.info.run_id, "hash", cell.protocol.hash)

    def epoch(self, cell, epoch):
        if epoch.loss is not None:
            self.client.log_metric(self.runs[str(cell)], "loss", epoch.loss, step=epoch.epoch)

    def note(self, cell, text):
        self.client.set_tag(self.runs[str(cell)], "note", text)

    def cell_ended(self, record):
        run = self.runs.pop(str(record))
        for name, value in numbers(record).items():
            self.client.log_metric(run, name, value)
        self.client.set_tag(run, "status", record.status)
        self.client.set_tag(run, "reason", record.reason)
        self.client.set_terminated(run, "FINISHED" if record.status == "ok" else "FAILED")

    def run_ended(self, records):
        for run in self.runs.values():
            self.client.set_terminated(run, "KILLED")


@hookimpl
def register_observers(register):
    register("mlflow", MLflow)
