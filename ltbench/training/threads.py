"""How many threads libraries use: as many as the protocol says, whatever was exported."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)
"""What libraries read, once, when they are loaded."""


def begin_with_one() -> None:
    """Has libraries that are not loaded yet begin with one thread; a cell sets its own number."""
    os.environ.update(dict.fromkeys(VARIABLES, "1"))


@contextmanager
def bounded(threads: int) -> Iterator[None]:
    """Every library with so many threads, be it loaded by now or within."""
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    try:
        with threadpool_limits(limits=threads):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
