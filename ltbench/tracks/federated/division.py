"""The division of long-tailed rows among clients: ours, and those of two published codes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ltbench.errors import LTBenchError
from ltbench.tracks.federated.problem import Federation

Index = NDArray[np.int64]
Chance = np.random.Generator
Published = np.random.RandomState  # with whose numbers published codes divide

STREAM = 2  # beside a seed, the stream of the division
TRIES = 1000  # draws of shares, after which a division is given up
PARTS = 10  # into which CReFF's code divides at a time


def divided(federation: Federation, labels: Index, num_classes: int, seed: int) -> list[Index]:
    """The rows of each client, as positions in `labels` [N]; each row has one client.

    Raises:
        LTBenchError: a client is left without rows, or with fewer than the protocol asks for.
    """
    classes = [np.flatnonzero(labels == c) for c in range(num_classes)]
    match federation.division:
        case "cut":
            clients = _cut(federation, classes, seed)
        case "drawn":
            clients = drawn(federation, classes, seed)
        case "equal":
            clients = equal(federation, labels, num_classes, seed)
        case "classes":
            clients = _by_classes(federation, classes, _own(seed))
    for k, rows in enumerate(clients):
        if not len(rows):
            raise LTBenchError(
                f"client {k} of {federation.clients} has no rows; take fewer clients, or division "
                "'cut', which keeps to a least number"
            )
    return [np.sort(rows) for rows in clients]


def _own(seed: int) -> Chance:
    return np.random.default_rng([STREAM, seed])


def _cut(federation: Federation, classes: Sequence[Index], seed: int) -> list[Index]:
    assert federation.alpha is not None
    chance = _own(seed)
    sizes = np.array([len(rows) for rows in classes])
    borders = cuts(sizes, federation.alpha, federation.clients, federation.least, chance)
    if borders is None:
        raise _refusal(federation, sizes, seed)
    shuffled = [chance.permutation(rows) for rows in classes]
    return _joined([np.split(rows, at) for rows, at in zip(shuffled, borders, strict=True)])


def cuts(sizes: Index, alpha: float, clients: int, least: int, chance: Chance) -> Index | None:
    """Where the shuffled rows of each class are cut [C, clients - 1], of `sizes` [C] rows.

    Shares are drawn many times at once, of which the first that leaves everybody `least` rows
    counts; None if there is none.
    """
    shares = chance.dirichlet(np.full(clients, alpha), (TRIES, len(sizes)))
    ends = shares.cumsum(axis=2)[:, :, :-1].clip(max=1.0) * sizes[:, None]
    borders: Index = ends.astype(np.int64)
    last = np.broadcast_to(sizes[:, None], (TRIES, len(sizes), 1))
    rows = np.diff(borders, axis=2, prepend=0, append=last).sum(axis=1)
    fits = (rows >= least).all(axis=1)
    return borders[fits.argmax()] if fits.any() else None


def _refusal(federation: Federation, sizes: Index, seed: int) -> LTBenchError:
    """Says that a division is none, and how many clients there could be with this seed."""
    alpha, least = federation.alpha, federation.least
    assert alpha is not None
    fewer = range(min(federation.clients - 1, sizes.sum() // least), 1, -1)
    can = next((k for k in fewer if cuts(sizes, alpha, k, least, _own(seed)) is not None), None)
    told = f"at most {can} clients can have that" if can else "not even two clients can have that"
    return LTBenchError(
        f"alpha {alpha:g} leaves one of {federation.clients} clients fewer than {least} of "
        f"{sizes.sum()} rows, in each of {TRIES} draws; {told}: take so many, or a larger alpha"
    )


def drawn(federation: Federation, classes: Sequence[Index], seed: int) -> list[Index]:
    """FedLoGe's: the client of each row is drawn from the shares of its class.

    With its seed, these are the clients of its code.
    """
    alpha, chance, parts = federation.alpha or 0.0, Published(seed), []
    chance.binomial(1, 1, (federation.clients, len(classes)))  # which clients have a class: all
    for rows in classes:
        shares = chance.dirichlet([alpha] * federation.clients)
        client = chance.choice(federation.clients, len(rows), p=shares)
        parts.append([rows[client == k] for k in range(federation.clients)])
    return _joined(parts)


def equal(federation: Federation, labels: Index, num_classes: int, seed: int) -> list[Index]:
    """CReFF's: ten parts at a time by Dirichlet shares, all of which are cut into equal clients.

    With its seed, these are the clients of its code.

    Raises:
        LTBenchError: there are fewer clients than such parts.
    """
    number, rows = federation.clients, len(labels)
    if number < PARTS:
        raise LTBenchError(f"division 'equal' makes {PARTS} parts at a time; {number} are too few")
    chance, parts = Published(seed), []
    borders = int(PARTS / number * rows) * np.arange(1, math.ceil(number / PARTS))
    for k, some in enumerate(np.split(chance.permutation(rows), borders)):
        few = min(PARTS, number - k * PARTS)
        of_class = [some[labels[some] == c] for c in range(num_classes)]
        parts += _balanced(of_class, few, federation.alpha or 0.0, chance)
    return np.array_split(np.concatenate(parts), number)


def _balanced(classes: Sequence[Index], parts: int, alpha: float, chance: Published) -> list[Index]:
    """Parts of the rows of each class, by shares that leave out whoever has its part already.

    Raises:
        LTBenchError: in no draw of shares has everybody half of its part.
    """
    whole = sum(map(len, classes))
    for _ in range(TRIES):
        found = [rows[:0] for rows in classes[:1]] * parts
        for rows in classes:
            open_ = np.array([len(part) < whole / parts for part in found])
            shares = chance.dirichlet([alpha] * parts) * open_
            # in this order: another rounds to other rows
            ends = (shares / shares.sum()).cumsum() if shares.any() else np.ones(parts)
            given = np.split(rows, (ends * len(rows)).astype(np.int64)[:-1])
            found = [np.concatenate(both) for both in zip(found, given, strict=True)]
        if min(map(len, found)) >= int(0.5 * whole / parts):
            return found
    raise LTBenchError(
        f"alpha {alpha:g} leaves a part without half of its rows in each of {TRIES} draws; take a "
        "larger one"
    )


def _by_classes(federation: Federation, classes: Sequence[Index], chance: Chance) -> list[Index]:
    """So many classes a client, each as often as others, a class in equal parts.

    Raises:
        LTBenchError: there are not so many classes, or one has no client.
    """
    number, each = len(classes), federation.classes
    assert each is not None
    if each > number:
        raise LTBenchError(f"a client cannot have {each} of {number} classes")
    if federation.clients * each < number:
        raise LTBenchError(
            f"{federation.clients} clients with {each} classes each leave some of {number} classes "
            "with nobody"
        )
    places = np.arange(federation.clients * each).reshape(federation.clients, each) % number
    owners, parts = chance.permutation(number)[places], []
    for c, rows in enumerate(classes):
        having = np.flatnonzero((owners == c).any(axis=1))
        shares = [rows[:0]] * federation.clients
        for k, part in zip(
            having, np.array_split(chance.permutation(rows), len(having)), strict=True
        ):
            shares[k] = part
        parts.append(shares)
    return _joined(parts)


def _joined(parts: Sequence[Sequence[Index]]) -> list[Index]:
    """The rows of each client, of those of each class [C][clients]."""
    return [np.concatenate(of_client) for of_client in zip(*parts, strict=True)]
