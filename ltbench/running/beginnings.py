"""Which cells of a run begin alike, so that one trains what the others are to wait for."""

from ltbench.results.records import Record
from ltbench.running.cell import Cell
from ltbench.running.plan import Plan
from ltbench.tracks.shared_stages import begins_plainly

Beginning = tuple[str, int]


class Beginnings:
    """What cells in hand are training for others, as far as it can be told without running them.

    Who guesses wrong has a cell wait for another that ends in any case, or train beside it.
    """

    def __init__(self, plan: Plan) -> None:
        recipes = {cell.recipe.text: cell.recipe for cell in plan.cells if plan.shares}
        self._plain = {text for text, recipe in recipes.items() if begins_plainly(recipe)}
        self._in_hand: dict[Beginning, Cell] = {}
        self._trained: set[Beginning] = set()

    def waits(self, cell: Cell) -> bool:
        """Whether a cell in hand is training what this one begins with."""
        return self._of(cell) in self._in_hand

    def began(self, cell: Cell) -> None:
        beginning = self._of(cell)
        if beginning is not None and beginning not in self._trained:
            self._in_hand[beginning] = cell

    def ended(self, cell: Cell, record: Record) -> None:
        beginning = self._of(cell)
        if beginning is not None and self._in_hand.get(beginning) is cell:
            del self._in_hand[beginning]
            if record.status == "ok":
                self._trained.add(beginning)

    def _of(self, cell: Cell) -> Beginning | None:
        return (cell.table, cell.seed) if cell.recipe.text in self._plain else None
