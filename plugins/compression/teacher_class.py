"""Teacher-class network: several students, each of a part of the features (Malik et al., 2021)."""

import copy
from typing import Annotated

import torch
from msgspec import Meta
from torch import nn

from ltbench import LTBenchError, hookimpl
from ltbench.tracks.compression.pruning import Graph, pruned
from ltbench_plugins.compression.mir import MiR


class Students(nn.Module):
    """Networks side by side; the head takes in the features of all, one after the other."""

    def __init__(self, students, head):
        super().__init__()
        self.students = nn.ModuleList(students)
        self.head = head

    def features(self, x):
        return torch.cat([student(x) for student in self.students], dim=1)

    def forward(self, x):
        return self.head(self.features(x))


class TeacherClass(MiR):
    """Gives each of `students` small networks a part of the teacher's features to mimic.

    Each is the teacher, pruned as `l1` does to the share of filters that is kept, divided by the
    root of how many students there are, so that together they take about the operations of one; of
    the last layer it has the filters of its part. Where these cannot be parted, as after a
    shortcut, a linear layer makes the part. The parts go to the teacher's head, which stays.
    Departures: students are pruned teachers, not networks of another design; all learn at once.
    """

    name = "teacher-class"
    reference = "arXiv:2004.03281"
    expected_failures = {
        "whole network is the teacher": "each student has its share of the filters, never all"
    }

    def __init__(self, students: Annotated[int, Meta(ge=2)] = 2):
        self.students = students

    def build(self, model, run):
        width = model.head.in_features
        if width < self.students:
            raise LTBenchError(
                f"{self.name} cannot share {width} features among {self.students} students"
            )
        students = [copy.deepcopy(model) for _ in range(self.students)]
        for k, student in enumerate(students):
            pruned(student, run, run.granted.compressing.keep / self.students**0.5)
            graph = Graph(student, run)
            if graph.last is not None:
                filters = torch.arange(len(graph.modules[graph.last].weight))
                graph.keep(graph.last, filters.tensor_split(self.students)[k])
                student.head = nn.Identity()
            else:
                part = torch.arange(width).tensor_split(self.students)[k]
                student.head = chosen(width, part).to(run.device)
        return Students(students, model.head)


def chosen(width, part):
    """A linear layer that starts as handing on some of its inputs."""
    layer = nn.Linear(width, len(part), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width)[part])
    return layer


@hookimpl
def register_methods(register):
    register(TeacherClass)
