import pytest
import torch
from compressing import recovering, taught_by
from torch import nn

from ltbench import LTBenchError, recipe
from ltbench.models import build
from ltbench.testing.task import COUNTS, rows_of
from ltbench.tracks.compression.checks import begun, compressed
from ltbench.tracks.compression.pruning import size
from ltbench_plugins.compression.teacher_class import Students, chosen


class Fixed(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full((len(x), 2), self.value)


def test_parts_stand_side_by_side_for_the_teachers_head():
    head = nn.Linear(4, 3)
    both = Students([Fixed(1.0), Fixed(2.0)], head)
    x = torch.zeros(5, 1)
    assert both.features(x).tolist() == [[1, 1, 2, 2]] * 5
    assert torch.equal(both(x), head(both.features(x)))


def test_the_layer_to_a_part_hands_it_on_at_first():
    layer = chosen(5, torch.tensor([1, 4]))
    assert layer(torch.tensor([[0.0, 1, 2, 3, 4]])).tolist() == [[1, 4]]


def students_of(name, options, students=2):
    networks = (build(name, (1, 8, 8), 4, options) for _ in range(2))
    run = taught_by(begun(rows_of(COUNTS), keep=0.5), *networks)
    run.recipe = recovering(f"teacher-class(students={students})")
    return run.recipe.build(run.model, run), run


@pytest.mark.parametrize("students", [2, 3])
def test_students_of_a_convnet_share_the_last_filters(students):
    model, run = students_of("convnet", {"widths": [16, 16, 8]}, students)
    inputs, teacher = run.train.inputs, run.granted.teacher
    assert model.features(inputs).shape == teacher.features(inputs).shape
    assert sum(s.branch[1][0].out_channels for s in model.students) == 8
    # each has its share of a half, over the root of how many there are
    each = {2: 6, 3: 5}[students]
    assert [s.trunk[0].out_channels for s in model.students] == [each] * students
    assert size(model) < size(teacher)


def test_after_a_shortcut_a_linear_layer_makes_the_part():
    model, run = students_of("resnet", {"depth": 8, "width": 4})
    assert [s.head.weight.shape for s in model.students] == [(8, 16), (8, 16)]
    assert model.features(run.train.inputs).shape == (len(run.train), 16)


def test_more_students_than_features_are_refused():
    with pytest.raises(LTBenchError, match="cannot share 4 features among 5 students"):
        students_of("convnet", {"widths": [8, 8, 4]}, 5)


def test_all_students_learn_and_the_head_does_not():
    made = compressed(recipe("teacher-class"), rows_of(COUNTS))
    assert torch.equal(made.model.head.weight, made.run.granted.teacher.head.weight)
    for student in made.model.students:
        assert all(
            int(m.num_batches_tracked) == 9 for m in student.modules() if hasattr(m, "momentum")
        )
