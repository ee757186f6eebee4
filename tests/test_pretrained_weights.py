"""Weights of somebody else: files that are read, what they must fit, and what is refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn
from torchvision.models import get_model

from ltbench import LTBenchError, protocol, recipe
from ltbench.commands.main import main
from ltbench.models import build
from ltbench.registry.registry import Registry
from ltbench.tracks.finetuning import weights
from ltbench.tracks.finetuning.problem import Pretrained
from ltbench.tracks.finetuning.track import load, plan, run

CPU = torch.device("cpu")
ANY = Pretrained("weights.pth", "any")
SMALL = "shufflenet_v2_x0_5"


def architecture(name=SMALL, classes=3):
    return build("torchvision_model", (3, 32, 32), classes, {"architecture": name})


def original(name=SMALL, seed=0):
    """The state of the architecture as torchvision knows it, with its thousand classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_model(name, weights=None).state_dict()


def written(path, state):
    """A file of safetensors, as its format says."""
    header, numbers = {"__metadata__": {"format": "pt"}}, b""
    for name, value in state.items():
        content = value.contiguous().numpy().tobytes()
        dtype = {torch.float32: "F32", torch.int64: "I64"}[value.dtype]
        ends = [len(numbers), len(numbers) + len(content)]
        header[name] = {"dtype": dtype, "shape": [*value.shape], "data_offsets": ends}
        numbers += content
    told = json.dumps(header).encode()
    path.write_bytes(len(told).to_bytes(8, "little") + told + numbers)
    return path


@pytest.mark.parametrize("name", [SMALL, "resnet18", "mobilenet_v3_small"])
def test_an_architecture_has_features_and_a_head_of_its_own(name):
    network = architecture(name).eval()
    features = network.features(torch.zeros(2, 3, 32, 32))
    assert features.shape == (2, network.head.in_features)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("squeezenet1_0", "squeezenet1_0 does not end in a linear layer"),
        ("resnet81", "unknown architecture 'resnet81'; did you mean 'resnet18'"),
        ("googlenet", "unknown architecture 'googlenet'"),
    ],
)
def test_an_architecture_that_cannot_serve_is_told(name, message):
    with pytest.raises(LTBenchError, match=message):
        architecture(name)


def test_grey_rows_are_refused():
    with pytest.raises(LTBenchError, match="takes colour images"):
        build("torchvision_model", (1, 8, 8), 3, {"architecture": SMALL})


def test_a_file_of_safetensors_and_one_of_torch_give_the_same_tensors(tmp_path):
    state = original()
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    first, told = weights.read(tmp_path / "weights.pth", ANY)
    second, _ = weights.read(written(tmp_path / "weights.safetensors", state), ANY)
    assert told == hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    assert first.keys() == second.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(first[name], value) and torch.equal(second[name], value)


def test_what_is_put_into_a_network_is_all_of_the_file_but_its_last_layer():
    state, whole = original(), get_model(SMALL, weights=None)
    network = weights.put(architecture(), state, "weights").eval()
    whole.load_state_dict(state)
    whole.fc = nn.Identity()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network.features(x), whole.eval()(x))


def test_statistics_may_lack_their_counter():
    state = {n: v for n, v in original().items() if not n.endswith("num_batches_tracked")}
    network = weights.put(architecture(), state, "weights")
    first = next(iter(state))
    assert torch.equal(network.trunk.state_dict()[first], state[first])


def spoiled(state, how):
    first = next(iter(state))
    if how == "lack":
        return {n: v for n, v in state.items() if n != first}, f"they lack {first}"
    if how == "more":
        return {**state, "aux.weight": torch.zeros(1)}, "they have aux.weight, which it lacks"
    if how == "shape":
        return {**state, first: torch.zeros(2, 2)}, rf"{first} is \[2, 2\], not"
    return {**state, first: state[first] * torch.nan}, f"{first} is not finite"


@pytest.mark.parametrize("how", ["lack", "more", "shape", "nan"])
def test_weights_that_do_not_fit_are_refused_in_a_line(how):
    state, message = spoiled(original(), how)
    with pytest.raises(LTBenchError, match=message) as refused:
        weights.put(architecture(), state, "weights my.pth")
    assert "\n" not in str(refused.value)


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
OUTSIDE = len(HEADER).to_bytes(8, "little") + HEADER + b"1234"


@pytest.mark.parametrize(
    "content", [b"", b"torn", (9).to_bytes(8, "little") + b"[1, 2, 3]", OUTSIDE]
)
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_broken_files_are_refused_in_a_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LTBenchError, match=r"weights .* cannot be read") as refused:
        weights.read(path, ANY)
    assert "\n" not in str(refused.value)


class Harmful:
    def __reduce__(self):
        return (print, ("run",))


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    torch.save({"a": Harmful()}, tmp_path / "weights.pth")
    with pytest.raises(LTBenchError, match="cannot be read"):
        weights.read(tmp_path / "weights.pth", ANY)
    assert capsys.readouterr().out == ""


def test_a_file_of_another_hash_is_refused(tmp_path):
    torch.save(original(), tmp_path / "weights.pth")
    with pytest.raises(LTBenchError, match=f"but the protocol is fixed to {'0' * 64}"):
        weights.read(tmp_path / "weights.pth", Pretrained("weights.pth", "0" * 64))


PROTOCOL = """
name = "mine"
version = 1
track = "finetuning"
description = "Pictures for weights of somebody else."
recipes = ["linear-probe"]
seeds = 1

[data]
source = "photos"
fingerprint = "any"
size = 32
test_per_class = 3
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]

[imbalance]
profile = "counts"
counts = [6, 3, 2]
class_order = "label"
draw = "seed"

[[pretrained]]
file = "first"
sha256 = "any"
counts = [9, 5, 1]

[[pretrained]]
file = "SECOND"
sha256 = "any"

[network]
name = "torchvision_model"
architecture = "shufflenet_v2_x0_5"

[budget]
epochs = 1
batch_size = 8
lr = 0.001
momentum = 0.9
nesterov = false
weight_decay = 5e-4
warmup = 0.0
decay = "cosine"
augmentation = "none"

[scoring]
metrics = ["balanced_accuracy", "p_gap", "d_gap", "trained_parameters"]
shot_splits = [3, 5]

[compute]
threads = 1
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A protocol over pictures of three classes, and where its data and a file of weights are."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    random = np.random.RandomState(0)
    for c, name in enumerate("abc"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(10):
            pixels = random.randint(60 * c, 60 * c + 120, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.png")
    torch.save(original(), tmp_path / "first.pth")
    second = written(tmp_path / "second.safetensors", original(seed=1))
    path = tmp_path / "mine.toml"
    path.write_text(PROTOCOL.replace("SECOND", str(second)))
    given = {"photos": str(tmp_path / "photos"), "first": str(tmp_path / "first.pth")}
    return path, given


@pytest.mark.parametrize(
    "text", ["linear-probe", "lift+logit-adjustment", "back-door+lora(rank=1)"]
)
def test_a_protocol_goes_on_from_weights_that_a_user_names(mine, text):
    path, given = mine
    fixed = protocol(path)
    sources = load(Registry(data=given), fixed)
    plan(fixed, sources, CPU)
    made = run(fixed, recipe(text), 0, sources[""], CPU)
    files = [path.parent / "first.pth", path.parent / "second.safetensors"]
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files]
    assert made.details.networks == hashes
    assert made.details.counts == [[9, 5, 1], []]
    assert made.measures["p_gap"] is not None
    if text == "linear-probe":
        assert made.measures["trained_parameters"] == 3 * (1024 + 1)


def test_weights_of_another_architecture_are_refused_before_a_cell_is_run(mine):
    path, given = mine
    torch.save(original("resnet18"), path.parent / "first.pth")
    fixed = protocol(path)
    with pytest.raises(LTBenchError, match=f"do not fit {SMALL}: they have conv1.weight"):
        plan(fixed, load(Registry(data=given), fixed), CPU)


def test_counts_of_other_classes_are_refused(mine):
    path, given = mine
    path.write_text(path.read_text().replace("[9, 5, 1]", "[9, 5]"))
    fixed = protocol(path)
    with pytest.raises(LTBenchError, match="weights 'first' count 2 classes, but photos has 3"):
        plan(fixed, load(Registry(data=given), fixed), CPU)


def test_weights_that_are_not_there_are_told(mine):
    path, given = mine
    del given["first"]
    with pytest.raises(LTBenchError, match="weights 'first': there is no file"):
        load(Registry(data=given), protocol(path))


def test_a_protocol_without_any_upstream_model_is_refused(mine):
    path, _ = mine
    content = path.read_text()
    start, end = content.index("[[pretrained]]"), content.index("[network]")
    path.write_text(content[:start] + content[end:])
    with pytest.raises(LTBenchError, match="state upstream, or weights of others as pretrained"):
        protocol(path)


def test_the_command_runs_it_and_refuses_a_torn_file_with_code_2(mine):
    path, given = mine
    data = [part for n, file in given.items() for part in ("--data", f"{n}={file}")]
    told = ["run", str(path), "--results", str(path.parent / "out"), "--jobs", "1", *data]
    done = CliRunner().invoke(main, told)
    assert done.exit_code == 0, done.output
    (path.parent / "first.pth").write_bytes(b"torn")
    refused = CliRunner().invoke(main, [*told, "--seeds", "2"])
    assert refused.exit_code == 2 and "Traceback" not in refused.output
    assert "cannot be read" in refused.output
