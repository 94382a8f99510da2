"""How a trial stands among its peers at the same evaluation."""

import math
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from autoft.record import Curve, Objective


class CurveTable:
    """The running best scores of a study's curves, so that a decision needs no pass over all evaluations.

    A memo and no state: what it gives depends on the curves alone, and a curve is read again when it has changed.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._rows: dict[int, int] = {}
        self._curves: list[Curve] = []
        self._scores = np.full((0, 0), -math.inf)
        self._lengths = np.zeros(0, dtype=np.int64)

    def peers(self, curves: Iterable[tuple[int, Curve]], *, without: int) -> "Peers":
        """The curves of all trials but one, by trial number; those without an evaluation are left out."""
        chosen = []
        for number, curve in curves:
            if number == without or not curve:
                continue
            row = self._rows.get(number)
            if row is None or self._curves[row] is not curve:
                row = self._read(number, curve)
            chosen.append(row)
        return Peers(self, np.array(chosen, dtype=np.intp))

    def curve(self, row: int) -> Curve:
        """The curve in a row."""
        return self._curves[row]

    def scores(self, rows: NDArray[np.intp], index: int, came: int) -> NDArray[np.float64]:
        """Best scores within ``index`` evaluations of those of the rows that came to evaluation ``came``."""
        if not len(rows):
            return np.zeros(0)
        rows = rows[self._lengths[rows] >= came]
        best: NDArray[np.float64] = self._scores[rows, min(index, self._scores.shape[1]) - 1]
        return best

    def _read(self, number: int, curve: Curve) -> int:
        row = self._rows.setdefault(number, len(self._rows))
        self._make_room(row + 1, len(curve))
        if row == len(self._curves):
            self._curves.append(curve)
        self._curves[row], self._lengths[row] = curve, len(curve)
        running = np.maximum.accumulate([_score(curve, place, self.objective) for place in range(len(curve))])
        self._scores[row, : len(curve)] = running
        self._scores[row, len(curve) :] = running[-1]
        return row

    def _make_room(self, rows: int, columns: int) -> None:
        """Grow by doubling; a curve that ended keeps its best in the columns behind it."""
        have_rows, have_columns = self._scores.shape
        if columns > have_columns:
            width = max(columns, 2 * have_columns)
            last = self._scores[:, -1:] if have_columns else np.full((have_rows, 1), -math.inf)
            self._scores = np.hstack([self._scores, np.repeat(last, width - have_columns, axis=1)])
        if rows > have_rows:
            more = max(rows, 2 * have_rows) - have_rows
            self._scores = np.vstack([self._scores, np.full((more, self._scores.shape[1]), -math.inf)])
            self._lengths = np.concatenate([self._lengths, np.zeros(more, dtype=np.int64)])


class Peers(Sequence[Curve]):
    """The curves of some rows of a `CurveTable`: to a rule a sequence of curves, only faster."""

    def __init__(self, table: CurveTable, rows: NDArray[np.intp]) -> None:
        self._table = table
        self._of = rows

    @property
    def objective(self) -> Objective:
        """What the table's scores stand for."""
        return self._table.objective

    def scores(self, index: int, came: int) -> NDArray[np.float64]:
        """As `peer_scores`."""
        return self._table.scores(self._of, index, came)

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, place: int) -> Curve: ...

    @overload
    def __getitem__(self, place: slice) -> "Peers": ...

    def __getitem__(self, place: int | slice) -> "Curve | Peers":
        if isinstance(place, slice):
            return Peers(self._table, self._of[place])
        return self._table.curve(int(self._of[place]))


def best_score(curve: Curve, index: int, objective: Objective) -> float:
    """The best score (higher is better) within the first ``index`` evaluations; minus infinity without a number."""
    return max((_score(curve, place, objective) for place in range(min(index, len(curve)))), default=-math.inf)


def peer_scores(
    peers: Sequence[Curve], index: int, objective: Objective, *, came: int | None = None
) -> NDArray[np.float64]:
    """`best_score` at ``index`` of each peer with at least ``came`` evaluations (default: ``index``), in their order.

    A peer that ended before ``index`` counts with what it had reached.
    """
    came = max(1, index if came is None else came)
    if isinstance(peers, Peers) and peers.objective == objective:
        return peers.scores(index, came)
    return np.array([best_score(peer, index, objective) for peer in peers if len(peer) >= came], dtype=np.float64)


def rank(score: float, others: NDArray[np.float64]) -> int:
    """Place from 1 of ``score``: one more than how many are strictly better."""
    return 1 + int(np.count_nonzero(others > score))


def ordinal(place: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    tens, ones = divmod(place % 100, 10)
    return f"{place}{'th' if tens == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(ones, 'th')}"


def shown(score: float, objective: Objective) -> str:
    """A score as the value of the metric that it stands for."""
    if math.isinf(score):
        return "none"
    return f"{score if objective.mode == 'max' else -score:.4g}"


def _score(curve: Curve, place: int, objective: Objective) -> float:
    evaluation = curve[place]
    if evaluation.diverged or not math.isfinite(evaluation.value):
        return -math.inf
    return objective.score(evaluation.value)
