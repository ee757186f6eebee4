"""What several benchmarks share: things are timed in turn, and ratios are told, not seconds."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LOOPS = Path(__file__).with_name("loops.py")
SET_HERE = {"OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"}


def plain_environment():
    """The environment in which somebody starts a program who sets nothing."""
    return {name: text for name, text in os.environ.items() if name not in SET_HERE}


def in_turn(calls, rounds=5, warm=1, clock=time.process_time):
    """The seconds of each call in each round [rounds], the calls taking turns."""
    seconds = {name: [] for name in calls}
    for turn in range(warm + rounds):
        for name, call in calls.items():
            start = clock()
            call()
            if turn >= warm:
                seconds[name].append(clock() - start)
    return seconds


def ratio(over, under):
    """The median of the ratios of each round."""
    return round(float(np.median(np.array(over) / np.array(under))), 3)


def images_a_second(*programs):
    """The images a second, added up, of programs of loops.py that train side by side."""
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [sys.executable, LOOPS, *words[:1], folder, str(k), *words[1:]],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=plain_environment(),
            )
            for k, words in enumerate(map(str.split, programs))
        ]
        while len(list(Path(folder).glob("*.ready"))) < len(running):
            dead = [one for one in running if one.poll() not in (None, 0)]
            assert not dead, dead[0].stderr.read()
            time.sleep(0.05)
        Path(folder, "go").touch()
        return sum(float(one.communicate()[0]) for one in running)


def wall(*command):
    """The seconds that a program takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=plain_environment())
    return time.perf_counter() - start
