"""What the tests of compression share: recipes as the track runs them, and other teachers."""

from dataclasses import replace

from ltbench import recipe
from ltbench.tracks.compression.contract import Recovering


def recovering(text):
    return Recovering(*recipe(text).methods)


def taught_by(run, teacher, model):
    """The run with another teacher, whose weights `model` starts from."""
    run.granted = replace(run.granted, teacher=teacher.eval().requires_grad_(False))
    run.model = model.eval()
    run.model.load_state_dict(teacher.state_dict())
    return run
