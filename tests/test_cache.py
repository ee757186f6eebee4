import pytest

from ltbench.registry import cache


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Counts how often a value is derived; the cache is in an empty folder."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    calls = []

    def remembered(*texts):
        def derive():
            calls.append(texts)
            return [len(text) for text in texts]

        return cache.remembered("lengths", texts, derive, list[int])

    return remembered, calls


def test_a_value_is_derived_once_for_the_same_texts(made):
    remembered, calls = made
    assert remembered("a", "bcd") == remembered("a", "bcd") == [1, 3]
    assert len(calls) == 1


@pytest.mark.parametrize("texts", [("ab", "cd"), ("a", "bce"), ("a",), ("bcd", "a")])
def test_other_texts_derive_another(made, texts):
    remembered, calls = made
    remembered("a", "bcd")
    assert remembered(*texts) == [len(text) for text in texts]
    assert len(calls) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"key": 1}', b"\xff", b'{"key": "", "value": ""}']
)
def test_a_damaged_cache_is_made_anew(made, tmp_path, content):
    remembered, calls = made
    remembered("a")
    (tmp_path / "cache" / "lengths.json").write_bytes(content)
    assert remembered("a") == remembered("a") == [1]
    assert len(calls) == 2


def test_a_value_of_another_kind_is_derived_anew(made, tmp_path):
    remembered, _ = made
    remembered("a")
    path = tmp_path / "cache" / "lengths.json"
    path.write_bytes(path.read_bytes().replace(b"[1]", b'"1"'))
    assert remembered("a") == [1]


def test_a_cache_that_cannot_be_written_only_costs_time(made, tmp_path):
    remembered, _ = made
    (tmp_path / "cache").write_text("a file in the way")
    assert remembered("a") == [1]
