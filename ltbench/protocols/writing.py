"""Parts of protocol files that are written for a user: texts, lists, shot borders."""

import json
from collections.abc import Sequence
from typing import Any

USUAL = (20, 100)
"""The borders of the field's shot groups."""


def toml(value: Any) -> str:
    """A text, number or list of those as TOML writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def shot_groups(counts: Sequence[int], borders: tuple[int, int]) -> list[str]:
    """The shot groups that have classes, of training rows `counts` [C]."""
    few, many = borders
    held = {"many" if n > many else "few" if n < few else "medium" for n in counts}
    return [group for group in ("many", "medium", "few") if group in held]


def shot_borders(counts: Sequence[int]) -> tuple[int, int]:
    """Borders that leave no shot group empty, where classes are of three sizes or more.

    They are the usual ones where these do so, else a third of the different sizes falls into each
    outer group. Of two sizes one group stays empty, of one size two.
    """
    if len(shot_groups(counts, USUAL)) == 3:
        return USUAL
    sizes = sorted(set(counts))
    part = max(1, len(sizes) // 3)
    few, many = sizes[part - 1] + 1, sizes[-part] - 1
    if len(sizes) < 2:
        return sizes[0], sizes[0]
    return few, max(few, many)
