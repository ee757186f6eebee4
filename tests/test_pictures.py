"""What a picture file says beside its pixels."""

import io
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ltbench import LTBenchError
from ltbench.datasets import pictures
from ltbench.datasets.files import read
from ltbench.datasets.pictures import ORIENTATION, TURNS

CHANCE = np.random.default_rng(0)
RAMP = np.tile(np.arange(8, dtype=np.uint8) * 30, (8, 1))  # dark on the left, bright on the right


def picture(shape=(8, 8, 3)):
    return Image.fromarray(CHANCE.integers(0, 256, shape, dtype=np.uint8))


def classes_of(path, rows=3, side=8):
    """Class folders a and b of images."""
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
        for k in range(rows):
            picture((side, side, 3)).save(path / name / f"{k}.png")


def folder_with(path, *images, others=lambda: picture((8, 8, 3))):
    """Class folders a and b of three images each; images, by ending, are more of b."""
    for name in ("a", "b"):
        (path / name).mkdir()
        for k in range(3):
            others().save(path / name / f"{k}.png")
    for k, (ending, save) in enumerate(images):
        save(path / "b" / f"z{k}{ending}")
    return read(path)


def last(dataset):
    """The pixels of the last image [H, W, C]."""
    return dataset.train.inputs[-1].permute(1, 2, 0).numpy()


def saved(image, **how):
    return lambda file: image.save(file, **how)


def test_grey_pictures_among_colour_ones_become_colour_ones(tmp_path):
    dataset = folder_with(tmp_path, (".png", saved(Image.fromarray(RAMP))))
    assert (last(dataset) == RAMP[..., None]).all()
    told = "1 of 7 images are grey, and read as colour images like the others"
    assert dataset.notes == (told,)
    assert dataset.described()["notes"] == [told]


def test_a_colour_picture_among_grey_ones_makes_all_of_them_colour_ones(tmp_path):
    colour = picture()
    grey = folder_with(tmp_path, (".png", saved(colour)), others=lambda: Image.fromarray(RAMP))
    assert (last(grey) == np.asarray(colour)).all()
    assert (grey.train.inputs[0, :, 0].numpy() == RAMP[0]).all()
    assert grey.notes[0].startswith("6 of 7 images are grey")


def test_grey_pictures_of_one_split_alone_become_colour_ones_too(tmp_path):
    for split, shape in (("train", (8, 8)), ("test", (8, 8, 3))):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            picture(shape).save(tmp_path / split / name / "0.png")
    dataset = read(tmp_path)
    assert dataset.train.inputs.shape == dataset.test.inputs.shape == (2, 3, 8, 8)
    assert dataset.notes[0].startswith("2 of 4 images are grey")


def test_grey_pictures_alone_keep_one_channel_without_a_note(tmp_path):
    dataset = folder_with(tmp_path, others=lambda: Image.fromarray(RAMP))
    assert dataset.train.inputs.shape == (6, 1, 8, 8)
    assert dataset.notes == ()


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_are_turned_as_exif_says(tmp_path, turn):
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    whole = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    image = Image.fromarray(np.dstack([whole] * 3))
    stored = {".png": {}, ".tif": {}, ".webp": {"lossless": True}}
    for ending, how in stored.items():
        (tmp_path / ending).mkdir()
        dataset = folder_with(tmp_path / ending, (ending, saved(image, exif=exif, **how)))
        shown = {
            2: whole[:, ::-1],
            3: whole[::-1, ::-1],
            4: whole[::-1],
            5: whole.T,
            6: np.rot90(whole, -1),
            7: whole[::-1, ::-1].T,
            8: np.rot90(whole),
        }
        assert (last(dataset)[..., 0] == shown[turn]).all(), ending
        assert dataset.notes == ("1 of 7 images are turned as their EXIF data say",)


def test_damaged_exif_data_are_passed_over(tmp_path):
    image = Image.fromarray(np.dstack([RAMP] * 3))
    dataset = folder_with(tmp_path, (".png", saved(image, exif=b"Exif\0\0no such data")))
    assert (last(dataset)[..., 0] == RAMP).all()


@pytest.mark.parametrize(
    ("ending", "how"),
    [(".webp", {"lossless": True}), (".tif", {}), (".png", {}), (".gif", {})],
)
def test_the_first_of_several_frames_is_read(tmp_path, ending, how):
    first = Image.fromarray(np.dstack([RAMP] * 3))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    several = saved(first, save_all=True, append_images=frames, **how)
    dataset = folder_with(tmp_path, (ending, several))
    assert (last(dataset)[..., 0] == RAMP).all()
    assert dataset.notes == ("1 of 7 images are of several frames, of which the first was read",)


def half_transparent(mode):
    """A dark picture of a mode of which the left half is not to be seen."""
    alpha = np.zeros((8, 8), dtype=np.uint8)
    alpha[:, 4:] = 255
    image = Image.new(mode.rstrip("A"), (8, 8), 0)
    image.putalpha(Image.fromarray(alpha))
    return image


def keyed(mode):
    """A picture of a mode, one colour of which, that of its left half, is not to be seen."""
    values = np.repeat([[1, 0]], 8, axis=0).repeat(4, axis=1).astype(np.uint8)
    image = Image.fromarray(values).convert(mode)
    if mode == "P":
        image = Image.fromarray(values)
        image.putpalette([0, 0, 0, 0, 0, 0])
    return saved(image, transparency={"L": 1, "RGB": (1, 1, 1), "P": 1}[mode])


@pytest.mark.parametrize(
    "save",
    [
        saved(half_transparent("RGBA")),
        saved(half_transparent("LA")),
        *map(keyed, ("L", "RGB", "P")),
    ],
    ids=["RGBA", "LA", "L", "RGB", "P"],
)
def test_what_is_transparent_is_white(tmp_path, save):
    dataset = folder_with(tmp_path, (".png", save))
    assert (last(dataset)[:, :4] == 255).all()
    assert (last(dataset)[:, 4:] == 0).all()
    assert "1 of 7 images are transparent in parts, and laid on white" in dataset.notes


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path):
    opaque = picture()
    pixels = np.asarray(opaque)
    opaque.putalpha(255)
    dataset = folder_with(tmp_path, (".png", saved(opaque)))
    assert (last(dataset) == pixels).all()
    assert dataset.notes == ()


def test_palettes_bits_and_cmyk_are_read_as_their_colours(tmp_path):
    colours = Image.fromarray(
        np.repeat([[[255, 0, 0], [0, 0, 255]]], 8, 0).repeat(4, 1).astype("u1")
    )
    bits = Image.fromarray(RAMP > 100)
    images = [
        (".png", saved(colours.quantize(2))),
        (".tif", saved(colours.convert("CMYK"))),
        (".png", saved(bits)),
    ]
    dataset = folder_with(tmp_path, *images)
    for position in (-3, -2):
        shown = dataset.train.inputs[position].permute(1, 2, 0).numpy()
        assert np.abs(shown.astype(int) - np.asarray(colours)).max() < 3
    assert (last(dataset)[..., 0] == 255 * (RAMP > 100)).all()
    assert "1 of 9 images are CMYK, and read as RGB" in dataset.notes


def deep_colour(file):
    """A PNG file of 16 bits a channel, which Pillow does not write."""
    import struct
    import zlib

    pixels = np.stack([RAMP.astype(">u2") << 8 | 7] * 3, axis=-1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    )
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*parts, (b"IEND", b""))
    ]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_colours_of_16_bits_keep_the_upper_8(tmp_path):
    dataset = folder_with(tmp_path, (".png", deep_colour))
    assert (last(dataset)[..., 0] == RAMP).all()
    assert dataset.notes == (
        "1 of 7 images are of 16 bits a channel, of which the upper 8 were read",
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_grey_of_more_than_8_bits_is_refused_as_nothing_tells_what_is_white(tmp_path, dtype):
    image = Image.fromarray(np.arange(64).reshape(8, 8).astype(dtype))
    with pytest.raises(LTBenchError, match="z0.tif has more than 8 bits a channel"):
        folder_with(tmp_path, (".tif", saved(image)))


def cut_off(form, **how):
    def save(file):
        buffer = io.BytesIO()
        Image.fromarray(CHANCE.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
            buffer, form, **how
        )
        file.write_bytes(buffer.getvalue()[: -len(buffer.getvalue()) // 3])

    return save


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_a_file_that_was_cut_off_is_refused(tmp_path, form):
    ending = {"JPEG": ".jpg", "TIFF": ".tif"}.get(form, f".{form.lower()}")
    with pytest.raises(
        LTBenchError, match=f"z0{ending} (cannot be read as|is not) an image"
    ) as told:
        folder_with(tmp_path, (ending, cut_off(form)), others=lambda: picture((64, 64, 3)))
    assert len(str(told.value).splitlines()) == 1


def test_a_picture_of_a_large_camera_is_cut_to_size(tmp_path):
    big = Image.new("L", (7000, 5200), 200)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        big.save(tmp_path / name / "0.png")
    dataset = read(tmp_path, size=16)
    assert (dataset.train.inputs == 200).all()


def test_a_sliver_that_would_fill_memory_when_it_is_cut_is_refused(tmp_path):
    sliver = Image.new("L", (60000, 1))
    with pytest.raises(LTBenchError, match="0.png is 60000 x 1, which is too narrow"):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            sliver.save(tmp_path / name / "0.png")
        read(tmp_path, size=224)


def test_pictures_that_neither_memory_nor_disk_can_hold_are_refused(tmp_path, monkeypatch):
    classes_of(tmp_path / "data")
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures, "_free_memory", lambda: 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(LTBenchError) as refusal:
        read(tmp_path / "data")
    assert "6 images like" in str(refusal.value)
    assert "which neither memory nor" in str(refusal.value)
    assert "give a size to which they are cut" in str(refusal.value)


def test_pictures_larger_than_memory_stand_on_disk_with_the_same_bits(tmp_path, monkeypatch):
    classes_of(tmp_path / "data")
    cache = tmp_path / "cache"
    monkeypatch.setenv("LTBENCH_CACHE", str(cache))
    in_memory = read(tmp_path / "data")
    assert not cache.exists()
    monkeypatch.setattr(pictures, "_free_memory", lambda: 1000)
    on_disk = read(tmp_path / "data")
    assert isinstance(pictures.room((1001,), "bytes"), np.memmap)
    assert list(cache.iterdir()) == []  # nobody else sees it, and nobody need clean up
    assert on_disk.fingerprint == in_memory.fingerprint
    assert torch.equal(on_disk.train.inputs, in_memory.train.inputs)


LARGER = """
import resource, sys
from pathlib import Path
from ltbench.datasets import pictures
from ltbench.datasets import pictures
from ltbench.datasets.files import read

data = int(next(line for line in open("/proc/self/status") if "VmData" in line).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (data + 2**28, data + 2**28))  # memory, files aside
pictures.CHUNK = 10
print(read(Path(sys.argv[1]), 1100).train.inputs[-1].float().mean().item())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_what_is_larger_than_memory_is_read_all_the_same(tmp_path):
    classes_of(tmp_path / "data", rows=60, side=12)  # 120 of 3.6 MB; 268 MB more may be held
    environment = os.environ | {"LTBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", LARGER, str(tmp_path / "data")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 255


def test_whatever_pillow_raises_names_the_file(tmp_path, monkeypatch):
    class Strange(Exception):
        def __str__(self):
            raise ValueError

    def raising(*given, **how):
        raise Strange

    monkeypatch.setattr("ltbench.datasets.pictures.Image.open", raising)
    with pytest.raises(LTBenchError, match="0.png cannot be read as an image: it cannot say"):
        folder_with(tmp_path)


def test_notes_of_a_data_set_are_in_the_record_of_each_of_its_cells(tmp_path):
    import ltbench

    folder_with(tmp_path, (".png", saved(Image.fromarray(RAMP))))
    for name in ("a", "b"):
        for k in range(20):
            picture().save(tmp_path / name / f"more-{k}.png")
    (tmp_path / "pics.toml").write_text(PICTURES)
    made = ltbench.run(
        tmp_path / "pics.toml", results=tmp_path / "results", data={"pics": tmp_path}
    )
    assert {record.status for record in made} == {"ok"}
    assert all("1 of 47 images are grey" in " ".join(record.notes) for record in made)


PICTURES = """
name = "pics"
version = 1
track = "recognition"
description = "Pictures."
recipes = ["erm", "ldam"]
seeds = 1
data = {source = "pics", fingerprint = "any", test_per_class = 3}
imbalance = {profile = "source", class_order = "label", draw = "fixed"}
network = {name = "convnet", widths = [4]}
scoring = {metrics = ["accuracy"], shot_splits = [5, 10]}
compute = {threads = 1}

[budget]
epochs = 1
batch_size = 8
lr = 0.05
momentum = 0.9
nesterov = false
weight_decay = 0.0
warmup = 0.0
decay = "cosine"
augmentation = "none"
"""


def test_no_bit_of_a_plain_picture_is_changed(tmp_path):
    images = [CHANCE.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(6)]
    left = list(images)
    dataset = folder_with(tmp_path, others=lambda: Image.fromarray(left.pop(0)))
    expected = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    assert torch.equal(dataset.train.inputs, expected)
    assert dataset.notes == ()
