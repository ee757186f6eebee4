import pytest
import torch
from of_domains import CELLS, run_of
from released_domains import (
    RWG_WEIGHTS,
    SUB_GROUPS,
    SUB_LABELS,
    SUB_SEED,
    SUBG_ROWS,
    SUBY_ROWS,
)

from ltbench import Rows, recipe
from ltbench_plugins.domains.draws import places


def drawn(text, cells=CELLS):
    """The share of each cell [G, C] among rows that are drawn."""
    method, run = run_of(text, cells)
    weights = method.sampling_weights(run.train.labels, run)
    own = run.train.groups * len(cells[0]) + run.train.labels
    shares = torch.zeros(len(cells) * len(cells[0])).double().index_add(0, own, weights.double())
    return (shares / shares.sum()).view(len(cells), -1)


def test_domains_are_drawn_alike_and_rows_within_them():
    shares = drawn("equal-domains")
    torch.testing.assert_close(shares.sum(1), torch.tensor([0.5, 0.5]).double())
    within = torch.tensor(CELLS[0]).double() / sum(CELLS[0])
    torch.testing.assert_close(shares[0], within / 2)


def test_classes_are_drawn_alike_within_each_domain_that_has_them():
    shares = drawn("domain-resampling", [[30, 10, 0], [1, 2, 3]])
    expected = torch.tensor([[1 / 4, 1 / 4, 0], [1 / 6, 1 / 6, 1 / 6]]).double()
    torch.testing.assert_close(shares, expected)


def test_domain_crt_draws_them_so_in_its_second_stage_alone():
    method, run = run_of("domain-crt")
    assert method.sampling_weights(run.train.labels, run) is None
    main, head = method.phases([run.phase], run)
    assert (head.role, head.learn, head.reset) == ("head", "head", "head")
    run.phase = head
    weights, run.phase = method.sampling_weights(run.train.labels, run), main
    resampling = recipe("domain-resampling").sampling_weights(run.train.labels, run)
    assert torch.equal(weights, resampling)


def test_cells_are_drawn_alike_by_rwg_and_classes_by_rwy():
    torch.testing.assert_close(drawn("rwg"), torch.full((2, 3), 1 / 6).double())
    torch.testing.assert_close(drawn("rwy").sum(0), torch.full((3,), 1 / 3).double())


def released():
    numbers = torch.arange(len(SUB_LABELS)).double()[:, None]
    return Rows(numbers, torch.tensor(SUB_LABELS), groups=torch.tensor(SUB_GROUPS))


def test_weights_of_rwg_are_those_of_balancing_groups():
    rows = released()
    method, run = run_of("rwg", [[8, 2], [3, 9]])
    run.train = rows
    weights = len(rows) * method.sampling_weights(rows.labels, run)
    cells = [weights[(rows.labels == y) & (rows.groups == g)][0] for y in (0, 1) for g in (0, 1)]
    assert sorted(map(float, cells)) == pytest.approx(RWG_WEIGHTS, abs=1e-5)


@pytest.mark.parametrize(("text", "kept"), [("subg", SUBG_ROWS), ("suby", SUBY_ROWS)])
def test_subsets_are_those_of_balancing_groups_for_one_permutation(text, kept):
    method, run = run_of(text, [[8, 2], [3, 9]])
    run.rng.manual_seed(SUB_SEED)
    rows = method.resample(released(), run)
    assert rows.inputs[:, 0].long().tolist() == kept
    assert rows.groups.tolist() == [SUB_GROUPS[k] for k in kept]


def test_a_cell_without_rows_does_not_empty_the_others():
    method, run = run_of("subg", [[5, 0], [3, 4]])
    kept = method.resample(run.train, run)
    assert (kept.groups * 2 + kept.labels).bincount().tolist() == [3, 0, 3, 3]


def test_places_count_the_rows_of_a_kind_that_stand_before():
    assert places(torch.tensor([2, 0, 2, 2, 0, 5])).tolist() == [0, 0, 1, 2, 1, 0]


def test_without_groups_subg_is_suby():
    labels = torch.tensor([0] * 6 + [1] * 2)
    rows = Rows(torch.arange(8.0)[:, None], labels)
    kept = []
    for text in ("subg", "suby"):
        _, run = run_of(text, [[6, 2]])
        run.rng.manual_seed(0)
        kept.append(recipe(text).resample(rows, run).inputs)
    assert torch.equal(*kept)
