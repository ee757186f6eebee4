"""What a GPU makes of an official cell: the same training, and how fast.

    python tests/bench/gpu.py [FOLDER]     every measurement that FOLDER does not hold yet
    python tests/bench/gpu.py FOLDER NAME  one of them, in this process

Each stands in a file of its own, so that what was cut off goes on. Then all are told in tables.
The images are noise of CIFAR-10's sizes: what they show costs nothing.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from ltbench import Method, Rows, protocol
from ltbench.tracks import classification
from ltbench.training.engine import draw, generator, portions, schedule, seeded, train
from ltbench.training.environment import own

STEPS, WARM, ROUNDS, SEED = 300, 60, 3, 0
SHARING = (1, 4, 8, 16)
SERVICE = "nvidia-cuda-mps-control"


def begun(rows=None, **changed):
    """An official cell on noise, ready to train for one epoch of as many rows."""
    fixed = protocol("cifar10-jpeg-lt-100")
    size = STEPS * fixed.budget.batch_size if rows is None else rows
    chance = torch.Generator().manual_seed(SEED)
    pixels = torch.randint(256, (size, 3, 32, 32), dtype=torch.uint8, generator=chance)
    noise = Rows(pixels, torch.arange(size) % 10)
    parts = classification.Parts(noise, None, lambda: noise, [size // 10] * 10)
    run = classification.begin(fixed, parts, SEED, torch.device("cuda"))
    run.phase = replace(run.phase, epochs=1, warmup=0.0, milestones=(), **changed)
    return noise.to(run.device), run, fixed.budget.batch_size


def by_hand(rows, run, batch_size, of=lambda model: model):
    """Plain training as a script has it."""
    model, phase, order = run.model, run.phase, generator(run, "order")
    views, network = generator(run, "views"), of(model)
    optimizer = torch.optim.SGD(
        model.parameters(), phase.lr, phase.momentum, weight_decay=phase.weight_decay
    )
    sizes = portions(len(rows), batch_size)
    for rate, index in zip(
        schedule(phase, len(sizes)),
        draw(len(rows), len(rows), None, order).split(sizes),
        strict=True,
    ):
        optimizer.param_groups[0]["lr"] = phase.lr * rate
        scores = network(run.views.augmented(rows.inputs[index], views))
        optimizer.zero_grad()
        F.cross_entropy(scores, rows.labels[index]).backward()
        optimizer.step()
    return model


def weights(model):
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


def equality():
    """How far engine and script end apart, over how far the engine went, and the script and itself.

    Once with algorithms that repeat their bits, as cells have them, once with those that cuDNN
    prefers.
    """
    told = {}
    for name, deterministic in (("deterministic", True), ("default", False)):
        torch.backends.cudnn.deterministic = deterministic
        ends = []
        for make in (_by_engine, by_hand, by_hand):
            rows, run, batch_size = begun(100 * 128)
            start = weights(run.model)
            with seeded(run, "methods"):
                ends.append(weights(make(rows, run, batch_size)))
        way = (ends[0] - start).norm()
        told[name] = float((ends[0] - ends[1]).norm() / way)
        told[f"{name}, script against itself"] = float((ends[1] - ends[2]).norm() / way)
    return told


def _by_engine(rows, run, batch_size):
    return train(Method(), rows, run, batch_size)


def seconds_a_step(work, rows, run, batch_size):
    """Of a warm training, the median over rounds."""
    taken = []
    for turn in range(1 + ROUNDS):
        steps = WARM if turn == 0 else STEPS
        part = Rows(rows.inputs[: steps * batch_size], rows.labels[: steps * batch_size])
        torch.cuda.synchronize()
        start = time.perf_counter()
        work(part, run, batch_size)
        torch.cuda.synchronize()
        taken.append((time.perf_counter() - start) / steps)
    return statistics.median(taken[1:])


def engine():
    return {"ms a step": 1000 * seconds_a_step(_learning(_by_engine), *begun())}


def engine_bfloat16():
    rows, run, batch_size = begun()
    run.precision = torch.bfloat16
    return {"ms a step": 1000 * seconds_a_step(_learning(_by_engine), rows, run, batch_size)}


def script():
    return {"ms a step": 1000 * seconds_a_step(by_hand, *begun())}


def script_compiled():
    """With the network's forward and backward pass fused and replayed."""
    compiled = {}

    def of(model):
        if model not in compiled:
            compiled[model] = torch.compile(model, mode="reduce-overhead")
        return compiled[model]

    start = time.perf_counter()
    taken = seconds_a_step(lambda *given: by_hand(*given, of=of), *begun())
    return {"ms a step": 1000 * taken, "seconds in all": time.perf_counter() - start}


def script_captured():
    """With views and both passes recorded once and replayed; SGD steps by itself."""
    rows, run, batch_size = begun()
    model, phase = run.model, run.phase
    optimizer = torch.optim.SGD(
        model.parameters(), phase.lr, phase.momentum, weight_decay=phase.weight_decay, foreach=True
    )
    views = generator(run, "views")
    images, labels = rows.inputs[:batch_size].clone(), rows.labels[:batch_size].clone()

    def passes():
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(model(run.views.augmented(images, views)), labels).backward()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            passes()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(views)
    with torch.cuda.graph(graph):
        passes()

    def replayed(part, run, batch_size):
        order = draw(len(part), len(part), None, generator(run, "order"))
        for index in order.split(batch_size):
            images.copy_(part.inputs[index])
            labels.copy_(part.labels[index])
            graph.replay()
            optimizer.step()

    return {"ms a step": 1000 * seconds_a_step(replayed, rows, run, batch_size)}


def _learning(work):
    """A training that begins where another has ended: the engine leaves a network that is done."""

    def again(rows, run, batch_size):
        run.model.requires_grad_(True)
        return work(rows, run, batch_size)

    return again


@contextmanager
def served():
    """The variables with which programs meet NVIDIA's multi-process service, started for them."""
    with tempfile.TemporaryDirectory() as folder:
        named = dict.fromkeys(("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"), folder)
        variables = {**os.environ, **named}
        subprocess.run([SERVICE, "-d"], env=variables, check=True)
        try:
            yield variables
        finally:
            subprocess.run([SERVICE], env=variables, input=b"quit\n")


def sharing_served(programs):
    with served() as variables:
        return sharing(programs, variables)


def sharing(programs, variables=None):
    """Steps a second of so many cells side by side, added up, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, folder]
        running = [
            subprocess.Popen([*words, f"one-{k}"], stdout=subprocess.PIPE, env=variables)
            for k in range(programs)
        ]
        while len(list(Path(folder).glob("*.ready"))) < programs:
            assert all(one.poll() in (None, 0) for one in running), "a program died"
            time.sleep(0.05)
        Path(folder, "go").touch()
        return {"steps a second": sum(float(one.communicate()[0]) for one in running)}


def one_of_several(folder, name):
    """A cell that waits until all are warm. All have as much to do, so they end about together."""
    rows, run, batch_size = begun()
    again = _learning(_by_engine)
    again(Rows(rows.inputs[: WARM * batch_size], rows.labels[: WARM * batch_size]), run, batch_size)
    torch.cuda.synchronize()
    Path(folder, f"{name}.ready").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.01)
    start = time.perf_counter()
    again(rows, run, batch_size)
    torch.cuda.synchronize()
    print(STEPS / (time.perf_counter() - start))


MEASURED = {
    "equality": equality,
    "engine": engine,
    "engine, bfloat16": engine_bfloat16,
    "script": script,
    "script, compiled": script_compiled,
    "script, captured": script_captured,
    **{f"sharing {n}": lambda n=n: sharing(n) for n in SHARING},
}
if shutil.which(SERVICE):
    MEASURED |= {f"served {n}": lambda n=n: sharing_served(n) for n in SHARING[1:]}


def told(folder):
    """The tables of what was measured, and the distance of engine and script."""
    files = {name: folder / f"{name}.json" for name in MEASURED}
    found = {name: json.loads(at.read_text()) for name, at in files.items() if at.exists()}
    far = found.pop("equality", {})
    print(f"\n{far.pop('gpu', '')}: how far two trainings end apart, of the way that they went")
    for name, apart in far.items():
        print(f"  {name}: {apart:.2g}")
    print("\n| what | ms a step |\n| --- | ---: |")
    for name, value in found.items():
        if "ms a step" in value:
            print(f"| {name} | {value['ms a step']:.2f} |")
    print("\n| cells side by side | steps a second, all | with the multi-process service |")
    print("| ---: | ---: | ---: |")
    for n in SHARING:
        both = (found.get(f"{how} {n}") for how in ("sharing", "served"))
        print(f"| {n} |", *(f"{one['steps a second']:.0f} |" if one else "|" for one in both))


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/gpu")
    if len(sys.argv) > 2 and sys.argv[2].startswith("one-"):
        with own(1, SEED):
            return one_of_several(folder, sys.argv[2])
    if not torch.cuda.is_available():
        sys.exit("no GPU is there that torch can use")
    folder.mkdir(parents=True, exist_ok=True)
    if len(sys.argv) > 2:
        with own(1, SEED):
            found = {**MEASURED[sys.argv[2]](), "gpu": torch.cuda.get_device_name()}
        return (folder / f"{sys.argv[2]}.json").write_text(json.dumps(found))
    failed = []
    for name in MEASURED:
        if not (folder / f"{name}.json").exists():
            start = time.perf_counter()
            if subprocess.run([sys.executable, __file__, folder, name]).returncode:
                failed.append(name)
            print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    told(folder)
    if failed:
        sys.exit(f"not measured: {'; '.join(failed)}; the same command tries them again")


if __name__ == "__main__":
    main()
