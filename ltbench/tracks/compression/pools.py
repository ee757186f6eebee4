"""Pools of images that show none of the classes: patches of photographs, other data, or noise."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ltbench.contract.context import Rows
from ltbench.datasets import Dataset, data_folder
from ltbench.errors import LTBenchError
from ltbench.tracks.compression.problem import Pool

Find = Callable[[str], Callable[[], Dataset]]
Pixels = NDArray[np.int64]

MOST = 8  # how many times larger than its image a patch may be


def read(pool: Pool, like: Rows, find: Find) -> Tensor:
    """The images [M, ...] of a pool in the size, channels and type of the rows `like`.

    `find` gives the loader of a data set.

    Raises:
        LTBenchError: there are too few, they cannot take that shape, or they are other images.
    """
    shape = tuple(like.inputs.shape[1:])
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise LTBenchError(f"an ood pool is of grey or colour images; the rows are {list(shape)}")
    if pool.source == "photographs":
        images = patches(pool.images, shape)
    elif pool.source == "noise":
        random = np.random.RandomState(0)
        images = torch.from_numpy(random.randint(0, 256, (pool.images, *shape)).astype(np.uint8))
    else:
        images = resized(_images(pool.source, find), pool, shape)
    found = fingerprint(images)
    if pool.fingerprint not in ("any", found):
        raise LTBenchError(
            f"ood pool {pool.source} has fingerprint {found}, but the protocol is fixed to "
            f"{pool.fingerprint}; these are other images"
        )
    return ranged(images, like.inputs)


def _images(source: str, find: Find) -> Tensor:
    """The training images of a data set; of a parquet file in the data folder, them alone."""
    from ltbench.datasets.parquet import images_of

    file = data_folder() / source / "train.parquet"
    return images_of(file) if file.exists() else find(source)().train.inputs


def patches(count: int, shape: tuple[int, ...]) -> Tensor:
    """Squares cut from scikit-learn's two photographs at random places and scales.

    Each is shrunk by means of whole squares of pixels and stretched from black to white, all in
    whole numbers, so that every machine makes the same.
    """
    from sklearn.datasets import load_sample_images

    photographs = [photograph.astype(np.int64) for photograph in load_sample_images().images]
    if min(shape[1:]) > min(min(photograph.shape[:2]) for photograph in photographs):
        raise LTBenchError(f"the photographs are too small for patches of {list(shape[1:])}")
    random = np.random.RandomState(0)
    return torch.from_numpy(np.stack([_patch(photographs, shape, random) for _ in range(count)]))


def _patch(
    photographs: list[Pixels], shape: tuple[int, ...], random: np.random.RandomState
) -> NDArray[np.uint8]:
    photograph = photographs[random.randint(len(photographs))]
    channels, height, width = shape
    most = min(MOST, photograph.shape[0] // height, photograph.shape[1] // width)
    scale = random.randint(1, most + 1)
    top = random.randint(photograph.shape[0] - scale * height + 1)
    left = random.randint(photograph.shape[1] - scale * width + 1)
    patch = photograph[top : top + scale * height, left : left + scale * width]
    patch = patch.reshape(height, scale, width, scale, 3).sum(axis=(1, 3)) // scale**2
    if channels == 1:
        patch = patch.sum(axis=2, keepdims=True) // 3
    low, high = patch.min(), patch.max()
    stretched: Pixels = (patch - low) * 255 // max(high - low, 1)
    return stretched.transpose(2, 0, 1).astype(np.uint8)


def resized(images: Tensor, pool: Pool, shape: tuple[int, ...]) -> Tensor:
    """The first images of a data set as bytes of another shape; grey is the mean of the colours.

    Raises:
        LTBenchError: there are too few, or they are no images of bytes.
    """
    if len(images) < pool.images:
        raise LTBenchError(
            f"ood pool {pool.source} has {len(images)} images; {pool.images} are asked for"
        )
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] not in (1, 3):
        raise LTBenchError(
            f"ood pool {pool.source} holds {images.dtype} {list(images.shape[1:])}; it must hold "
            "grey or colour images of bytes, 0 to 255"
        )
    taken = images[: pool.images].double()
    if shape[0] == 1:
        taken = taken.mean(dim=1, keepdim=True)
    if tuple(taken.shape[2:]) != shape[1:]:
        taken = F.interpolate(taken, shape[1:], mode="area")
    return taken.expand(-1, shape[0], -1, -1).round().to(torch.uint8).contiguous()


def ranged(images: Tensor, like: Tensor) -> Tensor:
    """Bytes as numbers of the type and range of `like`."""
    if like.dtype == torch.uint8:
        return images
    low, high = like.min(), like.max()
    return low + (high - low) * images.to(like.dtype) / 255


def fingerprint(images: Tensor) -> str:
    told = f"{list(images.shape)} ".encode()
    return hashlib.sha256(told + images.contiguous().numpy().tobytes()).hexdigest()[:16]


def refuse_overlap(images: Tensor, test: Tensor, pool: Pool) -> None:
    """Makes sure that no image of a pool is among those to be scored on.

    Raises:
        LTBenchError: some are.
    """
    held = {row.tobytes() for row in test.cpu().numpy()}
    shared = sum(row.tobytes() in held for row in images.cpu().numpy())
    if shared:
        raise LTBenchError(
            f"{shared} images of ood pool {pool.source} are rows of the test split; a pool must "
            "hold none of them"
        )
