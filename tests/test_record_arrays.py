import numpy as np
from msgspec import structs
from sample_record import RECORD

from ltbench.results.record_arrays import columns, joined, machine_of, taken


def record(seed, transductive=None, **changes):
    return structs.replace(RECORD, seed=seed, transductive=transductive, **changes)


PLAIN, ADAPTED = record(0), record(1, {"balanced_accuracy": 0.9})
OTHER, LATER = record(2, {"balanced_accuracy": 0.8}, recipe="erm"), record(3)
NAMES = ("balanced_accuracy",)


def test_what_tells_more_keeps_its_row_when_columns_are_joined():
    both = joined([columns([PLAIN, ADAPTED], NAMES), columns([OTHER, LATER], NAMES)])
    assert both.seed.tolist() == [0, 1, 2, 3]
    assert [both.recipes[k] for k in both.recipe] == ["sam(rho=0.8)"] * 2 + ["erm", "sam(rho=0.8)"]
    assert both.whole == {1: ADAPTED, 2: OTHER}


def test_columns_alone_are_joined_to_themselves():
    alone = columns([PLAIN, ADAPTED], NAMES)
    again = joined([alone])
    assert (again.names, again.kinds, again.whole) == (NAMES, alone.kinds, alone.whole)
    assert np.array_equal(again.measures, alone.measures)


def test_what_tells_more_goes_along_with_the_rows_that_are_taken():
    part = columns([PLAIN, ADAPTED, OTHER, LATER], NAMES)
    some = taken(part, np.array([2, 0]))
    assert some.seed.tolist() == [2, 0]
    assert some.whole == {0: OTHER}
    assert taken(part, np.array([3])).whole == {}


def test_a_machine_is_told_by_its_gpu_or_else_its_processor():
    environment = {"cpu": "a processor", "threads": 2, "torch": "2.5"}
    assert machine_of(record(0, environment=environment)) == (
        "a processor, threads a cell: 2, torch 2.5"
    )
    with_gpu = record(0, environment={**environment, "gpu": "a GPU"})
    assert machine_of(with_gpu) == "a GPU, threads a cell: 2, torch 2.5"


def test_only_what_was_run_tells_its_machine():
    ran, skipped = columns([PLAIN, record(1, timing=None)]).kinds
    assert ran.machine == machine_of(PLAIN)
    assert skipped.machine is None
