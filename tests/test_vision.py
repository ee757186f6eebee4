"""The loaders of public sets, on small files in the published layouts."""

import gzip
import hashlib
import os
import pickle
import struct

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets as published

from ltbench import LTBenchError
from ltbench.datasets import built_in, vision

CHANCE = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LTBENCH_DATA", str(tmp_path))
    return tmp_path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_cifar10_is_read_in_its_published_layout(folder, monkeypatch):
    place = folder / "cifar10" / "cifar-10-batches-py"
    place.mkdir(parents=True)
    pixels, sums = {}, {}
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        pixels[name] = CHANCE.integers(0, 256, (10, 3072), dtype=np.uint8)
        (place / name).write_bytes(pickle.dumps({"data": pixels[name], "labels": list(range(10))}))
        sums[name] = md5(place / name)
    names = [f"c{k}" for k in range(10)]
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    kind = published.CIFAR10
    monkeypatch.setattr(kind, "train_list", [[n, sums[n]] for n in sums if n != "test_batch"])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(place / "batches.meta")})
    dataset = vision.load("cifar10")
    assert dataset.train.inputs.shape == (50, 3, 32, 32)
    expected = torch.from_numpy(pixels["data_batch_2"][3].reshape(3, 32, 32))
    assert torch.equal(dataset.train.inputs[13], expected)
    assert dataset.test.labels.tolist() == list(range(10))
    assert dataset.classes == tuple(names)
    (place / "data_batch_1").write_bytes(b"other")
    with pytest.raises(LTBenchError, match="set LTBENCH_DATA to a folder that holds it"):
        vision.load("cifar10")


def idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())
    with gzip.open(path.with_name(path.name + ".gz"), "wb") as packed:
        packed.write(header + array.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_and_its_like_are_read_in_their_published_layout(folder, monkeypatch, name):
    kind = vision.SETS[name]
    place = folder / name / kind.__name__ / "raw"
    place.mkdir(parents=True)
    images = CHANCE.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = np.arange(20, dtype=np.uint8) % 10
    for file, _ in kind.resources:
        array = images if "images" in file else labels
        idx(place / file.removesuffix(".gz"), array)
    sums = [(file, md5(place / file)) for file, _ in kind.resources]
    monkeypatch.setattr(kind, "resources", sums)
    dataset = vision.load(name)
    assert torch.equal(dataset.train.inputs[:, 0], torch.from_numpy(images))
    assert dataset.test.labels.tolist() == labels.tolist()
    assert dataset.classes[3] == {"mnist": "3", "fashion-mnist": "Dress"}[name]
    (place / kind.resources[0][0]).write_bytes(b"other")
    with pytest.raises(LTBenchError, match="missing or not the published file"):
        vision.load(name)


def test_svhn_is_read_in_its_published_layout(folder, monkeypatch):
    pytest.importorskip("scipy")
    (folder / "svhn").mkdir()
    images = CHANCE.integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
    labels = np.arange(1, 11)[:, None]  # 10 stands for the digit 0
    listed = {}
    for split in ("train", "test"):
        path = folder / "svhn" / f"{split}_32x32.mat"
        savemat(path, {"X": images, "y": labels})
        listed[split] = ["", path.name, md5(path)]
    monkeypatch.setattr(published.SVHN, "split_list", listed)
    dataset = vision.load("svhn")
    assert dataset.train.inputs.shape == (10, 3, 32, 32)
    expected = torch.from_numpy(images[..., 4].transpose(2, 0, 1).copy())
    assert torch.equal(dataset.train.inputs[4], expected)
    assert dataset.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_protocols_are_fixed_to_the_publishers_checksums():
    from ltbench import protocol

    for name in ("cifar10", "cifar100", "fashion-mnist", "svhn"):
        assert protocol(f"{name}-lt-100").data.fingerprint == vision._checksum(name)


@pytest.mark.skipif("LTBENCH_DATA" not in os.environ, reason="LTBENCH_DATA names no data folder")
@pytest.mark.parametrize("name", ["mnist", "cifar10-jpeg"])
def test_real_images_are_those_the_protocols_are_fixed_to(name):
    from ltbench import protocol
    from ltbench.registry.registry import Registry

    dataset = Registry().dataset(name)()
    assert dataset.fingerprint == protocol(f"{name}-lt-100").data.fingerprint
    assert len(dataset.test) == 10000


def test_every_name_has_a_loader():
    assert set(vision.SETS) <= built_in().keys()
