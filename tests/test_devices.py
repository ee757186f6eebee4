"""Nothing on the way from the rows to the scores mixes tensors of two devices.

The GPU is pretended, so every number must be the CPU's to the bit.
"""

import copy

import numpy as np
import pytest
import torch
from pretended import OnGpu, gpu
from shorter import SHORTER

from ltbench import Unmet, protocol, recipe
from ltbench.registry.registry import installed
from ltbench.testing.task import OF_NETWORKS, rows_of
from ltbench.tracks import classification
from ltbench.tracks.bags import track as bags
from ltbench.tracks.clustering import track as clustering
from ltbench.tracks.compression import track as compression
from ltbench.tracks.detection import track as detection
from ltbench.tracks.distillation import track as distillation
from ltbench.tracks.domains import track as domains
from ltbench.tracks.federated import track as federated
from ltbench.tracks.finetuning import track as finetuning
from ltbench.tracks.incremental import track as incremental
from ltbench.tracks.language import track as language
from ltbench.tracks.multilabel import track as multilabel
from ltbench.tracks.recognition import track as recognition
from ltbench.tracks.regression import track as regression
from ltbench.tracks.robust import track as robust
from ltbench.tracks.semi import track as semi
from ltbench.tracks.sequences import track as sequences

CPU = torch.device("cpu")
SHORT = """
[imbalance]
profile = "exponential"
n_max = 16
factor = 8
class_order = "seed"
draw = "seed"

[data]
test_per_class = 10
mean = [0.3]
std = [0.4]

[network]
name = "convnet"
widths = [4, 4]

[budget]
epochs = 2
batch_size = 16
augmentation = "crop-flip"

[scoring]
shot_splits = [5, 15]
"""
TRACKS = {
    "recognition": (recognition, 'base = "digits-lt"\nname = "small"\n' + SHORT),
    "distillation": (
        distillation,
        'base = "distill-digits"\nname = "small"\nnetworks = 1\nsteps = 2\n'
        "[distilling]\nipc = 2\niterations = 2\nnetworks = 1\nepochs = 1\n" + SHORT,
    ),
    "compression": (
        compression,
        'base = "compress-digits"\nname = "small"\n[compressing]\nrows = 2\nfactor = 4.0\n'
        '[network]\nname = "convnet"\nwidths = [4, 4, 4]\n'
        "[teacher]\nepochs = 1\n[budget]\nepochs = 2\n"
        '[ood]\nsource = "photographs"\nfingerprint = "any"\nimages = 30\n',
    ),
    "domains": (
        domains,
        'base = "digits-domains"\nname = "small"\n[[domains]]\nname = "upright"\n'
        '[[domains]]\nname = "turned"\nturned = 45\n[[domains]]\nname = "cornered"\ncorner = 2\n'
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "robust": (
        robust,
        'base = "digits-robust"\nname = "small"\n'
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "federated": (
        federated,
        'base = "digits-federated"\nname = "small"\n'
        "[federation]\nclients = 3\nrounds = 2\nalpha = 0.5\nleast = 5\n"
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "multilabel": (
        multilabel,
        'base = "digits-scenes-lt"\nname = "small"\n'
        '[budget]\nepochs = 2\n[network]\nname = "scenenet"\nwidths = [4, 4]\n',
    ),
    "semi": (
        semi,
        'base = "digits-semi-consistent"\nname = "small"\n'
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "sequences": (
        sequences,
        'base = "digits-sequences-lt"\nname = "small"\n[views]\nshift = 1\njitter = 0.1\n'
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "regression": (
        regression,
        'base = "digits-rotation-lt"\nname = "small"\n'
        '[imbalance]\nprofile = "exponential"\nn_max = 16\nfactor = 8\nclass_order = "seed"\n'
        'draw = "seed"\n[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "bags": (
        bags,
        'base = "digits-bags-lt"\nname = "small"\n[planted]\ntest = 10\n'
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "finetuning": (
        finetuning,
        'base = "digits-finetune"\nname = "small"\n'
        "[upstream]\nmodels = 2\n[upstream.budget]\nepochs = 1\n[budget]\nepochs = 2\n"
        '[network]\nname = "mlp"\nwidths = [8, 8]\n',
    ),
    "clustering": (
        clustering,
        'base = "digits-discovery-5"\nname = "small"\n'
        '[budget]\nepochs = 2\n[encoder]\nepochs = 1\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "detection": (
        detection,
        'base = "digits-detection-lt"\nname = "small"\n'
        "[scenes]\ntrain = 40\ntest = 6\neach = 2\nbackground = 4\n"
        '[imbalance]\nprofile = "exponential"\nn_max = 30\nfactor = 10\nclass_order = "seed"\n'
        'draw = "seed"\n[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
    "language": (
        language,
        'base = "phrases-lt"\nname = "small"\n[data]\ntest_per_class = 4\n[texts]\nfeatures = 50\n'
        '[imbalance]\nprofile = "exponential"\nn_max = 16\nfactor = 8\nclass_order = "seed"\n'
        'draw = "seed"\n[budget]\nepochs = 2\n',
    ),
    "incremental": (
        incremental,
        'base = "digits-incremental"\nname = "small"\ntasks = 3\n'
        '[budget]\nepochs = 2\n[network]\nname = "mlp"\nwidths = [8]\n',
    ),
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """What a recipe makes of a short cell of a track on a device; None if it is not for that."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))

    def run(track, text, device):
        module, toml = TRACKS[track]
        monkeypatch.setattr(module, "time_plain", lambda *given, **more: 1.0)
        for kept in ("_teachers", "_trained"):
            getattr(module, kept, {}).clear()
        path = tmp_path / "small.toml"
        path.write_text(toml)
        fixed = protocol(path)
        (source,) = getattr(module, "load", classification.load)(installed(), fixed).values()
        try:
            return module.run(fixed, recipe(text), 0, source, device)
        except Unmet:
            return None

    return run


def methods_of(track):
    """The library's methods that the track may be for; those of tables act on no network."""
    for name, method in installed().methods().items():
        if "network" in method.models and installed().owner(name).package == "ltbench":
            distils, compresses = "ipc" in method.needs, "teacher" in method.needs
            if track == "distillation" and distils or track == "compression" and compresses:
                yield name
            if track == "domains" and {"groups", "annotator"} & method.needs:
                yield name
            if track == "incremental" and "past" in method.needs:
                yield name
            if track == "federated" and "clients" in method.needs:
                yield name
            if track == "bags" and "bags" in method.needs:
                yield name
            if track == "finetuning" and "backbones" in method.needs:
                yield name
            if track == "robust" and "attack" in method.needs:
                yield name
            if track == "multilabel" and "label_sets" in method.needs:
                yield name
            if track == "sequences" and "parts" in method.needs:
                yield name
            if track == "semi" and {"pool", "pool_labels"} & method.needs:
                yield name
            if track == "regression" and "values" in method.needs:
                yield name
            if track == "detection" and "locations" in method.needs:
                yield name
            if track == "clustering" and "rows_to_cluster" in method.needs:
                yield name
            elsewhere = distils or compresses or OWN & method.needs
            if track == "recognition" and not elsewhere:
                yield name


OWN = {
    *("annotator", "attack", "backbones", "bags", "clients", "difficulty", "groups", "label_sets"),
    *("locations", "parts", "past", "peers", "pool", "pool_labels", "rows_to_cluster", "values"),
}
"""Needs that one track supplies."""
EVERY = [
    *((track, SHORTER.get(name, name)) for track in TRACKS for name in methods_of(track)),
    ("domains", "erm"),
    ("federated", "erm"),
    ("incremental", "erm"),
    ("incremental", "icarl(nearest_mean=False)+balanced-softmax"),
    ("distillation", "dm+balanced-softmax"),
    ("compression", "kd+oe-fsmc"),
    ("multilabel", "erm"),
    ("multilabel", "asl+class-aware-sampling+mixup"),
    ("semi", "erm"),
    ("sequences", "brl(ratio=0.5)+logit-adjustment"),
    ("clustering", "erm"),
    ("detection", "fracal+posthoc-logit-adjustment"),
    ("clustering", "k-means+simgcd+logit-adjustment"),
    ("semi", "fixmatch+distribution-alignment+darp(warmup=0.0)+mixup"),
    ("semi", "fixmatch+crest(plus=True)"),
    ("semi", "fixmatch+daso(warmup=0.0)+abc"),
    ("regression", "erm"),
    ("regression", "lds+conr+fds+rrt"),
    ("regression", "oversampling+ranksim"),
    ("regression", "undersampling+balanced-mse(form='bni')"),
    ("language", "erm"),
    ("language", "spdcl+mixup+posthoc-logit-adjustment"),
    ("language", "smote+crt"),
    ("recognition", "crt+mixup"),
    ("recognition", "ldam+drw"),
    ("recognition", "imbsam+logit-adjustment"),
]


@pytest.mark.parametrize(("track", "text"), EVERY, ids=["/".join(pair) for pair in EVERY])
def test_a_cell_on_a_gpu_is_one_on_the_cpu(small, track, text):
    here = small(track, text, CPU)
    with gpu() as device:
        there = small(track, text, device)
    if here is None:
        assert there is None
        return
    assert there.arrays.keys() == here.arrays.keys()
    for name, values in here.arrays.items():
        np.testing.assert_array_equal(there.arrays[name], values, err_msg=name)
    timed = {"evaluation_seconds", "twin_seconds", "latency"}
    assert {k: v for k, v in there.measures.items() if k not in timed} == {
        k: v for k, v in here.measures.items() if k not in timed
    }
    assert there.transductive == here.transductive
    assert there.notes == here.notes


@pytest.mark.parametrize("text", ["erm", "ldam+drw", "la-tau", "sam", "lade"])
def test_a_training_on_a_gpu_continues_from_where_it_stood(text):
    states = []
    whole = OF_NETWORKS.train(recipe(text))
    with gpu() as device:
        OF_NETWORKS.train(
            recipe(text),
            device=device,
            checkpoint=lambda state: states.append(copy.deepcopy(state)),
        )
        again = OF_NETWORKS.train(recipe(text), device=device, resume=states[0])
        assert isinstance(again.scores, OnGpu)
        assert torch.equal(again.scores.cpu(), whole.scores)


def test_the_clocks_measure_a_gpu(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(TRACKS["recognition"][1])
    fixed = protocol(path)
    (source,) = classification.load(installed(), fixed).values()
    with gpu() as device:
        outcome = recognition.run(fixed, recipe("erm"), 0, source, device)
    assert outcome.timing.work > 0
    assert outcome.timing.peak_memory_mb == 0  # as the pretended one tells


@pytest.mark.parametrize(
    "mix",
    [
        lambda there: there + torch.ones(3),
        lambda there: there.sum() * torch.ones(3),
        lambda there: torch.stack([there.sum(), torch.tensor(1.0)]),
        lambda there: torch.ones(3)[there.long()],
        lambda there: torch.nn.Linear(3, 1)(there),
        lambda there: there.__setitem__(slice(None), torch.ones(3).log()[:2]),
        lambda there: torch.rand(3, generator=torch.Generator(), device=there.device),
        lambda there: torch.randperm(3, generator=torch.Generator(there.device)),
        lambda there: there.numpy(),
        lambda there: np.asarray(there),
        lambda there: torch.nn.functional.one_hot(there.long(), 3) @ torch.ones(3, 3).long(),
        lambda there: torch.zeros(3).index_add(0, there.long(), there),
    ],
)
def test_what_cuda_refuses_the_pretended_gpu_refuses(mix):
    with gpu() as device, pytest.raises(RuntimeError):
        mix(torch.zeros(3, device=device))


def test_what_cuda_allows_the_pretended_gpu_allows():
    with gpu() as device:
        there = rows_of([3, 2]).inputs.to(device)
        there[torch.tensor([0, 1])] = 0.0
        there[0] = torch.ones(1, 8, 8)  # a copy crosses
        assert there[0].sum().item() == 64
        assert (there * torch.tensor(2.0))[0].sum().tolist() == 128
        assert there.new_tensor([1.0]).device == there.device
        assert torch.tensor([1.0], device=there.device).is_cuda
        assert not there.cpu().is_cuda
