import os
import random
import warnings

import numpy as np
import torch

from ltbench.training.environment import described, own


def test_an_environment_tells_versions_machine_and_commit():
    told = described(torch.device("cpu"), 1)
    assert told["torch"] == torch.__version__.split("+")[0]
    assert told["gpu"] is None
    assert told["cpu"]
    assert {"commit", "dirty", "cores", "threads"} <= told.keys()


def test_a_process_is_left_as_it_was_and_chance_inside_follows_the_seed():
    torch.manual_seed(9)
    states = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    threads, drawn = torch.get_num_threads(), []
    for seed in (1, 1, 2):
        with own(threads=1, seed=seed):
            assert torch.get_num_threads() == 1
            assert torch.backends.cudnn.deterministic
            drawn.append((torch.rand(()).item(), np.random.rand(), random.random()))
            torch.set_default_dtype(torch.float64)
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.get_num_threads() == threads
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    assert states[2] == random.getstate()


def test_what_a_method_leaves_behind_is_put_back(tmp_path):
    folder, filters = os.getcwd(), list(warnings.filters)
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.get_float32_matmul_precision()
    with own(threads=1, seed=0):
        os.chdir(tmp_path)
        warnings.simplefilter("error")
        np.seterr(all="raise")
        cudnn.benchmark, cudnn.deterministic = not before[0], not before[1]
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True)
        torch.set_grad_enabled(False)
    assert os.getcwd() == folder
    assert warnings.filters == filters
    assert np.geterr()["over"] == "warn"
    assert (cudnn.benchmark, cudnn.deterministic, torch.get_float32_matmul_precision()) == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.is_grad_enabled()
