"""Bars as long columns, one symbol after the other: what rules and cleaning work on, daily or by the minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import FIELDS
from workbench.data.rules import Frequency
from workbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.bars import Bars

__all__ = ["BarRows", "Frequency"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BarRows:
    """N bars of S symbols in seven arrays, sorted by symbol, then time; a key may occur twice (a duplicate).

    ``offsets``, shape (S + 1,), int64: the rows of ``symbols[i]`` are ``offsets[i]:offsets[i + 1]``. ``at``, shape
    (N,), datetime64[ns]: the session's midnight of a daily bar, the start in UTC of a minute's. Prices in USD as
    traded, volumes in shares, shape (N,), float64; NaN where there is none. ``bid`` and ``ask`` at the bar's end, where
    a source has them.
    """

    symbols: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    at: npt.NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    frequency: Frequency = "daily"
    snapshot: int = 0
    bid: Floats | None = None
    ask: Floats | None = None

    def __len__(self) -> int:
        return len(self.at)

    def rows_of(self, symbol: str) -> slice:
        """Where a symbol's rows are.

        Raises
        ------
        DataError
            If there are none of it.
        """
        if symbol not in self.symbols:
            raise DataError(f"no bars of {symbol}")
        at = self.symbols.index(symbol)
        return slice(int(self.offsets[at]), int(self.offsets[at + 1]))

    def __iter__(self) -> Iterator[tuple[str, slice]]:
        """Every symbol with its rows."""
        for at, symbol in enumerate(self.symbols):
            yield symbol, slice(int(self.offsets[at]), int(self.offsets[at + 1]))

    def covering(self, symbols: Sequence[str]) -> BarRows:
        """The same bars with a place for each of ``symbols``, sorted, whether there are bars of it or none.

        >>> import pandas as pd
        >>> nothing = BarRows.from_frame(pd.DataFrame(columns=["symbol", "at", *FIELDS]))
        >>> nothing.covering(["IBM", "FB"]).symbols
        ('FB', 'IBM')
        """
        names = sorted({*symbols, *self.symbols})
        counts = dict(zip(self.symbols, np.diff(self.offsets).tolist(), strict=True))
        sizes = [counts.get(name, 0) for name in names]
        return replace(self, symbols=tuple(names), offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    def codes(self) -> npt.NDArray[np.int64]:
        """The position in ``symbols`` of every row's symbol, shape (N,)."""
        return np.repeat(np.arange(len(self.symbols)), np.diff(self.offsets))

    def frame(self) -> pd.DataFrame:
        """The same as columns ``symbol``, ``at`` and the fields."""
        import pandas as pd

        fields = {name: getattr(self, name) for name in FIELDS}
        names = np.repeat(np.array(self.symbols, dtype=object), np.diff(self.offsets))
        return pd.DataFrame({"symbol": names, "at": self.at, **fields})

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Any], names: Sequence[str], frequency: Frequency = "daily", snapshot: int = 0
    ) -> BarRows:
        """Columns ``code`` (a place in ``names``), ``day`` or ``us`` since 1970 and the fields, in any order.

        Those of ``names`` without a bar are left out.
        """
        codes = np.asarray(columns["code"])
        times = np.asarray(columns["day" if frequency == "daily" else "us"]).astype(np.int64)
        values = {name: np.asarray(columns[name], dtype=np.float64) for name in FIELDS}
        if not _are_in_order(codes, times):
            order = np.lexsort((times, codes))
            codes, times = codes[order], times[order]
            values = {name: column[order] for name, column in values.items()}
        counts = np.bincount(codes, minlength=len(names))
        there = np.flatnonzero(counts)
        unit = "datetime64[D]" if frequency == "daily" else "datetime64[us]"
        return cls(
            tuple(names[code] for code in there.tolist()),
            np.concatenate([[0], np.cumsum(counts[there])]).astype(np.int64),
            times.view(unit).astype("datetime64[ns]"),
            **values,
            frequency=frequency,
            snapshot=snapshot,
        )

    @classmethod
    def none(cls, frequency: Frequency = "daily", snapshot: int = 0) -> BarRows:
        """No bars of any symbol."""
        nothing = np.zeros(0)
        columns: dict[str, np.ndarray[Any, Any]] = dict.fromkeys(("day", "us", *FIELDS), nothing)
        return cls.from_columns(columns | {"code": nothing.astype(np.int32)}, [], frequency, snapshot)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, frequency: Frequency = "daily", snapshot: int = 0) -> BarRows:
        """Columns ``symbol``, ``at`` (or ``session``) and the fields, in any order; duplicates keep theirs.

        >>> import pandas as pd
        >>> day = pd.Timestamp("2013-01-02")
        >>> bar = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 5.0}
        >>> rows = BarRows.from_frame(pd.DataFrame([{"symbol": s, "session": day} | bar for s in ("MSFT", "IBM")]))
        >>> rows.symbols, rows.offsets.tolist(), rows.rows_of("MSFT")
        (('IBM', 'MSFT'), [0, 1, 2], slice(1, 2, None))
        """
        time = "at" if "at" in frame.columns else "session"
        frame = frame.sort_values(["symbol", time], kind="stable")
        symbols, counts = np.unique(frame["symbol"].to_numpy(dtype=object).astype(str), return_counts=True)
        fields = {name: frame[name].to_numpy(dtype=np.float64) for name in FIELDS}
        return cls(
            tuple(str(name) for name in symbols),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            frame[time].to_numpy(dtype="datetime64[ns]"),
            **fields,
            frequency=frequency,
            snapshot=snapshot,
        )

    @classmethod
    def from_bars(cls, bars: Bars) -> BarRows:
        """Wide frames as rows; cells that are NaN in all five fields are no bars.

        Raises
        ------
        DataError
            If the prices are adjusted: what is wrong in them could not be told any more.
        """
        if bars.adjustment != "raw":
            raise DataError(f"quality is judged on raw bars, not {bars.adjustment}-adjusted ones")
        wide = {name: getattr(bars, name).to_numpy(dtype=np.float64).T for name in FIELDS}
        present = ~np.logical_and.reduce([np.isnan(values) for values in wide.values()])
        counts = present.sum(axis=1)
        order = np.argsort(np.array(bars.symbols, dtype=object).astype(str), kind="stable")
        kept = present[order]
        at = np.broadcast_to(bars.sessions.to_numpy(dtype="datetime64[ns]"), present.shape)
        return cls(
            tuple(bars.symbols[column] for column in order),
            np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64),
            at[order][kept],
            **{name: values[order][kept] for name, values in wide.items()},
            snapshot=bars.snapshot,
        )


def _are_in_order(codes: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> bool:
    later = (codes[1:] == codes[:-1]) & (times[1:] >= times[:-1])
    return bool(np.all(later | (codes[1:] > codes[:-1])))
