"""Whatever is loaded, restated, cleaned and compacted: every old snapshot reads as it did."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.staging import Frames, flat

from workbench.clock import ManualClock
from workbench.data._merge_bars import SHOWN
from workbench.data._reading import SqlReader
from workbench.data.instruments import Listings
from workbench.data.lake import Lake

SYMBOLS = ("A", "B")
DAYS = [day.date().isoformat() for day in pd.bdate_range("2013-01-02", periods=6)]
CELLS = st.dictionaries(
    st.tuples(st.sampled_from(SYMBOLS), st.sampled_from(DAYS)), st.integers(1, 4).map(float), min_size=1, max_size=8
)
REPAIRS = st.dictionaries(st.sampled_from(DAYS), st.none() | st.integers(5, 8).map(float), max_size=3)
Cells = dict[tuple[str, str], float]


def frame(cells: Cells) -> pd.DataFrame:
    return pd.concat([flat(symbol, [day], [close]) for (symbol, day), close in cells.items()])


class LakeHistory(RuleBasedStateMachine):
    """A lake beside a model of it: a dictionary of closes for every snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        # To this clock every state of the catalog is an hour old, so that each is kept as a file and read from it.
        self.lake = Lake(Path(self._folder.name), clock=ManualClock(datetime.now(UTC) + timedelta(hours=1)))
        self.raw: dict[int, Cells] = {}
        self.repaired: dict[int, dict[tuple[str, str], float | None]] = {}
        self.loads = 0

    def teardown(self) -> None:
        self.lake.close()
        self._folder.cleanup()

    @initialize(cells=CELLS)
    def first(self, cells: Cells) -> None:
        self.load(cells)

    @rule(cells=CELLS)
    def load(self, cells: Cells) -> None:
        before = self.raw[max(self.raw)] if self.raw else {}
        repairs = self.repaired[max(self.raw)] if self.raw else {}
        self.loads += 1
        result = self.lake.load(Frames(str(self.loads), {"bars": frame(cells)}))
        changed = {key for key, close in cells.items() if before.get(key) != close}
        assert result.rows_added == len(cells.keys() - before.keys())
        assert result.rows_restated == len(changed & before.keys())
        assert result.repairs_dropped == len(changed & repairs.keys())
        # Of each bar open, high, low and close are other ones; so many values are shown.
        told = sorted(changed & before.keys())[: SHOWN // 4]
        assert {(found.symbol, found.at.isoformat()) for found in result.restated} == set(told)
        self._remember(result.snapshot, before | cells, {k: v for k, v in repairs.items() if k not in changed})

    @rule()
    def load_again(self) -> None:
        result = self.lake.load(Frames(str(self.loads), {"bars": frame({("A", DAYS[0]): 1.0})}))
        assert result.repeated
        assert result.snapshot == max(self.raw)

    @rule(symbol=st.sampled_from(SYMBOLS), repairs=REPAIRS)
    def clean(self, symbol: str, repairs: dict[str, float | None]) -> None:
        newest = max(self.raw)
        if not any(name == symbol for name, _ in self.raw[newest]):
            return  # nothing that could be cleaned
        cleaned = pd.concat(
            [flat(symbol, [], [])]
            + [flat(symbol, [day], [close if close is not None else np.nan]) for day, close in repairs.items()]
        ).rename(columns={"session": "at"})
        cleaned = cleaned.assign(kept=[close is not None for close in repairs.values()])
        ledger = pd.DataFrame({"symbol": symbol, "at": pd.to_datetime(list(repairs)), "field": "close"})
        ledger = ledger.assign(old=np.nan, new=np.nan, rule="r", action="a", reason="by hand")
        made = self.lake.write_cleaned(cleaned, ledger, symbols=[symbol], policy="p", raw_snapshot=newest)
        before = self.repaired[newest]
        after = {key: close for key, close in before.items() if key[0] != symbol}
        after |= {(symbol, day): close for day, close in repairs.items()}
        assert made.unchanged == (after == before)
        self._remember(made.snapshot, self.raw[newest], after)

    @rule()
    def compact(self) -> None:
        self.lake.compact()
        self._remember(self.lake.snapshot(), self.raw[max(self.raw)], self.repaired[max(self.raw)])

    @invariant()
    def every_snapshot_reads_as_it_did(self) -> None:
        for snapshot, cells in self.raw.items():
            assert self._read(snapshot) == cells
            assert self._read(snapshot, self.lake._sql(snapshot)) == cells
            mended = cells | self.repaired[snapshot]
            assert self._cleaned(snapshot) == {k: v for k, v in mended.items() if v is not None}

    @invariant()
    def the_diff_of_first_and_last_is_their_difference(self) -> None:
        if len(self.raw) > 1:
            first, last = min(self.raw), max(self.raw)
            old, new = self.raw[first], self.raw[last]
            found = self.lake.diff(first, last)
            keys = set(zip(found["symbol"], found["at"].dt.strftime("%Y-%m-%d"), strict=True))
            assert keys == {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}

    def _remember(self, snapshot: int, raw: Cells, repaired: dict[tuple[str, str], float | None]) -> None:
        self.raw[snapshot] = raw
        self.repaired[snapshot] = repaired

    def _read(self, snapshot: int, reader: SqlReader | None = None) -> Cells:
        """From the snapshot's file in the cache; with a reader from the lake's Parquet files."""
        rows = {symbol: self.lake.history(symbol, snapshot=snapshot) for symbol in SYMBOLS}
        if reader is not None:
            rows = {name: reader.history(Listings(()).pieces([name], date.max), date.min, date.max) for name in SYMBOLS}
        return {(symbol, row[0].isoformat()): row[4] for symbol, found in rows.items() for row in found}

    def _cleaned(self, snapshot: int) -> Cells:
        rows = self.lake.rows(snapshot=snapshot, cleaned=True)
        days = np.datetime_as_string(rows.at, unit="D")
        return {
            (symbol, str(days[at])): float(rows.close[at])
            for symbol, here in rows
            for at in range(here.start, here.stop)
        }


TestLakeHistory = LakeHistory.TestCase
TestLakeHistory.settings = settings(
    max_examples=4,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # to shrink a history takes minutes, and it is short as it is
)
