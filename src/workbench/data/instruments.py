"""Which rows a ticker means: an instrument is followed through its tickers, and a reused ticker is taken apart.

A *spell* is the time an instrument is listed under a ticker. A read names tickers as of its last session: its
history goes back through the spells of the same instrument, and no further.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Spell:
    """An instrument listed as ``symbol`` from ``first`` to ``last`` (None: still), both included."""

    instrument: str
    symbol: str
    first: date
    last: date | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of ``ticker`` from ``first`` to ``last`` belong to the symbol asked for at place ``code``."""

    code: int
    ticker: str
    first: date
    last: date


class Listings:
    """The spells of a snapshot.

    >>> spells = Listings([
    ...     Spell("meta-platforms", "FB", date(2012, 5, 18), date(2022, 6, 8)),
    ...     Spell("meta-platforms", "META", date(2022, 6, 9), None),
    ...     Spell("roundhill-ball-metaverse", "META", date(2021, 6, 30), date(2022, 1, 28)),
    ... ])
    >>> [(piece.ticker, str(piece.first)) for piece in spells.pieces(["META"], date(2023, 1, 3))]
    [('FB', '2012-05-18'), ('META', '2022-06-09')]
    >>> [(piece.ticker, str(piece.first)) for piece in spells.pieces(["META"], date(2021, 12, 31))]
    [('META', '2021-06-30')]
    """

    def __init__(self, spells: Iterable[Spell]) -> None:
        self._by_symbol: dict[str, list[Spell]] = defaultdict(list)
        self._by_instrument: dict[str, list[Spell]] = defaultdict(list)
        for spell in sorted(spells, key=lambda spell: spell.first):
            self._by_symbol[spell.symbol].append(spell)
            self._by_instrument[spell.instrument].append(spell)

    def __bool__(self) -> bool:
        return bool(self._by_symbol)

    def spells(self, symbol: str) -> list[Spell]:
        """Every spell of a ticker, by its first session."""
        return list(self._by_symbol.get(symbol, ()))

    def spell(self, symbol: str, on: date) -> Spell | None:
        """The last spell of a ticker that has begun by ``on``; None if it has no listing by then."""
        spells = self._by_symbol.get(symbol, [])
        at = bisect_right(spells, on, key=lambda spell: spell.first)
        return spells[at - 1] if at else None

    def pieces(self, symbols: Sequence[str], on: date) -> list[Piece]:
        """The rows that ``symbols`` mean to who looks on the day ``on``.

        A ticker that has no listings at all means all of its rows.
        """
        found = []
        for code, symbol in enumerate(symbols):
            if symbol not in self._by_symbol:
                found.append(Piece(code, symbol, date.min, date.max))
            elif (spell := self.spell(symbol, on)) is not None:
                found += [
                    Piece(code, earlier.symbol, earlier.first, earlier.last or date.max)
                    for earlier in self._by_instrument[spell.instrument]
                    if earlier.first <= spell.first
                ]
        return found

    def current(self, symbols: Iterable[str], on: date) -> list[str]:
        """Those of ``symbols`` that an instrument is known by on the day ``on``: not the name it had before.

        A delisted instrument keeps its last ticker.
        """
        return [symbol for symbol in symbols if not self._renamed(symbol, on)]

    def _renamed(self, symbol: str, on: date) -> bool:
        spell = self.spell(symbol, on)
        if spell is None:
            return symbol in self._by_symbol  # not listed yet
        return any(spell.first < later.first <= on for later in self._by_instrument[spell.instrument])
