"""The trial ledger: every parameter combination that was ever simulated, so that luck can be discounted.

The best of a thousand tries looks good by chance alone. What corrects for it (the deflated Sharpe ratio, the
probability of backtest overfitting) needs to know how many were tried, in all sweeps and backtests so far, not
only in the last one. So nothing here is ever overwritten or deleted.

A part is one Parquet file, ``FOLDER/STRATEGY/DATA/SWEEP-FIRST-COUNT.parquet``: written under another name, flushed
to the disk, then linked to its own. There is no lock: any number of processes add parts at once, and one that is
killed in the middle leaves a file that is never read. A part that is there already stays as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from workbench.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from workbench.strategies.base import Strategy

METRICS = ("total_return", "sharpe_per_session", "sortino", "max_drawdown", "trades", "win_rate", "exposure")
COLUMNS = (
    *("sweep_id", "part", "at", "strategy", "data", "symbols", "first_session", "last_session", "snapshot"),
    *("parameters", *METRICS, "flag", "sessions", "engine", "assumptions"),
)
_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Study:
    """What the trials of one sweep, or of one backtest, have in common.

    Attributes
    ----------
    sweep_id
        Names the study: see :func:`study_id`.
    strategy
        See :func:`strategy_name`.
    symbols
        In any order.
    first_session, last_session, sessions
        The window that was simulated.
    snapshot
        Of the lake; 0 for bars that are not from it.
    engine
        Which program computed the numbers.
    assumptions
        Costs and conventions by name, as they go into JSON.
    held
        Parameters that have the same value in all trials.
    """

    sweep_id: str
    strategy: str
    symbols: tuple[str, ...]
    first_session: date
    last_session: date
    sessions: int
    snapshot: int
    engine: str
    assumptions: Mapping[str, object] = field(default_factory=dict)
    held: Mapping[str, object] = field(default_factory=dict)


class TrialLedger:
    """The trials in one folder; the folder is made by the first part.

    Examples
    --------
    >>> ledger = TrialLedger(getfixture("tmp_path"))
    >>> study = Study("a1", "momentum", ("IBM",), date(2012, 1, 3), date(2013, 3, 1), 290, 7, "kernel", held={"top": 1})
    >>> tried = pd.DataFrame({"sharpe_per_session": [0.03, 0.05]}, index=pd.Index([20, 60], name="lookback"))
    >>> ledger.add(tried.reindex(columns=METRICS), study, at=datetime.fromisoformat("2013-03-01T22:00:00+00:00"))
    >>> ledger.count("momentum", ["IBM"])
    2
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, trials: pd.DataFrame, study: Study, *, at: datetime, part: int = 0) -> None:
        """Put a part on record: durable when this returns, and there as a whole or not at all.

        Parameters
        ----------
        trials
            One row per combination, indexed by the parameters that vary (the index carries their names), or with
            an unnamed index of one row where none does. Columns as in :data:`METRICS`; what is not known is NaN.
            ``sharpe_per_session`` is the mean over the standard deviation of the returns per session, *not*
            annualised; ``max_drawdown`` is zero or negative. A column ``flag`` may say what makes a trial worthless.
        at
            The moment, timezone-aware.
        part
            Number of the first combination within the study; the part has ``len(trials)`` from there on.

        Raises
        ------
        DataError
            If there are no trials, or metrics are missing.
        """
        missing = [name for name in METRICS if name not in trials.columns]
        if missing or trials.empty:
            raise DataError(f"trials without {', '.join(missing)}" if missing else "there are no trials to record")
        table = _table(trials, study, at, part)
        folder = self._folder(study.strategy, study.symbols)
        folder.mkdir(parents=True, exist_ok=True)
        _publish(table, folder / f"{study.sweep_id}-{part:09d}-{len(trials):06d}.parquet")

    def read(self, strategy: str | None = None, symbols: Iterable[str] | None = None) -> pd.DataFrame:
        """The trials, of one strategy or on one set of symbols if given, in the order of recording.

        Returns
        -------
        Columns as in :data:`COLUMNS`: ``at`` in UTC, ``first_session`` and ``last_session`` at midnight,
        ``parameters``, ``symbols`` and ``assumptions`` as JSON texts, metrics float64 with NaN where unknown.

        Raises
        ------
        DataError
            If a file of the ledger cannot be read.
        """
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        found = self._ask(f'SELECT {columns} FROM parts ORDER BY "at", sweep_id, part, row', strategy, symbols)
        if found is None:
            return pd.DataFrame(columns=list(COLUMNS))
        return found.assign(at=found["at"].dt.tz_localize("UTC"))

    def sweep(self, sweep_id: str, strategy: str, symbols: Iterable[str]) -> pd.DataFrame:
        """What is on record of one study, by the number of the combination: :data:`METRICS` and ``flag``."""
        metrics = ", ".join([*METRICS, "flag"])
        query = f'SELECT part + row AS number, {metrics} FROM parts WHERE sweep_id = ? ORDER BY number, "at"'
        found = self._ask(query, strategy, symbols, [sweep_id], name=f"{sweep_id}-*.parquet")
        if found is None:
            found = pd.DataFrame(columns=["number", *METRICS, "flag"])
        found = found.drop_duplicates("number").set_index("number")
        return found.astype({name: float for name in METRICS})

    def count(self, strategy: str, symbols: Iterable[str] | None = None) -> int:
        """How many different parameter combinations of a strategy were ever tried on a set of symbols.

        Counted once each, whatever the window, snapshot, assumptions or sweep: a new day of data is no new idea.
        Without ``symbols``, on any.
        """
        found = self._ask("SELECT count(DISTINCT parameters) AS n FROM parts", strategy, symbols)
        return 0 if found is None else int(found["n"].iloc[0])

    def summary(self) -> pd.DataFrame:
        """What was tried so far, by strategy and symbols.

        Returns
        -------
        Indexed by ``strategy`` and ``symbols`` (joined by a space). ``trials`` counts different combinations,
        ``sweeps`` the studies; ``first_at`` and ``last_at`` in UTC; ``best_sharpe_per_session`` over all trials;
        ``variance_sharpe_per_session`` over the combinations, each as it was simulated last (sample variance,
        combinations without a Sharpe ratio left out), as the deflated Sharpe ratio needs it.
        """
        found = self._ask(_SUMMARY, None, None)
        if found is None:
            columns = ["trials", "sweeps", "first_at", "last_at"]
            columns += ["best_sharpe_per_session", "variance_sharpe_per_session"]
            return pd.DataFrame(
                columns=columns, index=pd.MultiIndex.from_arrays([[], []], names=["strategy", "symbols"])
            )
        found["symbols"] = [" ".join(json.loads(text)) for text in found["symbols"]]
        for column in ("first_at", "last_at"):
            found[column] = found[column].dt.tz_localize("UTC")
        return found.set_index(["strategy", "symbols"])

    def parts(self) -> list[str]:
        """Names of all parts, relative to the folder, sorted; a part never changes."""
        return sorted(file.relative_to(self.folder).as_posix() for file in self._files(None, None, "*.parquet"))

    def _folder(self, strategy: str, symbols: Iterable[str]) -> Path:
        return self.folder / quote(strategy, safe="") / data_digest(symbols)

    def _files(self, strategy: str | None, symbols: Iterable[str] | None, name: str) -> list[Path]:
        above = "*" if strategy is None else quote(strategy, safe="")
        data = "*" if symbols is None else data_digest(symbols)
        return list(self.folder.glob(f"{above}/{data}/{name}"))

    def _ask(
        self,
        query: str,
        strategy: str | None,
        symbols: Iterable[str] | None,
        values: Sequence[object] = (),
        *,
        name: str = "*.parquet",
    ) -> pd.DataFrame | None:
        """Run a query over the parts that may matter; None if there are none."""
        files = self._files(strategy, symbols, name)
        return ask(files, query, values) if files else None


def ask(files: Sequence[Path], query: str, values: Sequence[object] = ()) -> pd.DataFrame:
    """Run a DuckDB query over parts of a ledger.

    The view ``parts`` has :data:`COLUMNS`, ``at`` as a timestamp in UTC without a zone, and ``row`` within the part.

    Raises
    ------
    DataError
        If one of the files cannot be read.
    """
    import duckdb

    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    # Moments as plain timestamps in UTC: a time zone would need an extension of DuckDB.
    source = (
        'SELECT * REPLACE (make_timestamp(epoch_us("at")) AS "at"), file_row_number AS row'
        f" FROM read_parquet([{listed}], file_row_number = true)"
    )
    with duckdb.connect(":memory:") as connection:
        try:
            connection.execute(f"CREATE VIEW parts AS {source}")
            return connection.execute(query, list(values)).df()
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            raise DataError(_damaged(files, error), hint="move the damaged file out of the ledger") from error


def study_id(**what: object) -> str:
    """Name a study by everything that its numbers depend on.

    >>> study_id(strategy="momentum", grid={"top": [1, 2]}) == study_id(grid={"top": [1, 2]}, strategy="momentum")
    True
    """
    return hashlib.sha256(canonical(what).encode()).hexdigest()[:_DIGEST]


def data_digest(symbols: Iterable[str]) -> str:
    """Name a set of symbols, whatever their order.

    >>> data_digest(["IBM", "AAPL"]) == data_digest(["AAPL", "IBM"])
    True
    """
    return hashlib.sha256(canonical(sorted(set(symbols))).encode()).hexdigest()[:_DIGEST]


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal parameters have equal texts.

    >>> canonical({"slow": 200, "fast": np.int64(50)})
    '{"fast":50,"slow":200}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def strategy_name(strategy: Strategy | type[Strategy]) -> str:
    """The name under which trials of a strategy are counted: its file in ``workbench.strategies``, or its class.

    >>> from workbench.strategies import load
    >>> strategy_name(load("moving_average", {}))
    'moving_average'
    """
    kind = strategy if isinstance(strategy, type) else type(strategy)
    module, _, name = kind.__module__.rpartition(".")
    return name if module == "workbench.strategies" else kind.__name__


_SUMMARY = """
WITH latest AS (
    SELECT strategy, data, parameters, arg_max(sharpe_per_session, "at") AS sharpe
    FROM parts WHERE isfinite(sharpe_per_session) GROUP BY ALL
), spread AS (
    SELECT strategy, data, var_samp(sharpe) AS variance_sharpe_per_session FROM latest GROUP BY ALL
)
SELECT strategy, any_value(symbols) AS symbols, count(DISTINCT parameters) AS trials,
       count(DISTINCT sweep_id) AS sweeps, min("at") AS first_at, max("at") AS last_at,
       max(sharpe_per_session) FILTER (isfinite(sharpe_per_session)) AS best_sharpe_per_session,
       any_value(variance_sharpe_per_session) AS variance_sharpe_per_session
FROM parts LEFT JOIN spread USING (strategy, data) GROUP BY strategy, data ORDER BY strategy, symbols
"""


def _table(trials: pd.DataFrame, study: Study, at: datetime, part: int) -> pa.Table:
    import pyarrow as pa

    symbols = sorted(set(study.symbols))
    common: dict[str, object] = {
        "sweep_id": study.sweep_id,
        "part": part,
        "at": at,
        "strategy": study.strategy,
        "data": data_digest(symbols),
        "symbols": canonical(symbols),
        "first_session": study.first_session,
        "last_session": study.last_session,
        "snapshot": study.snapshot,
        "sessions": study.sessions,
        "engine": study.engine,
        "assumptions": canonical(study.assumptions),
    }
    types = {
        "part": pa.int64(),
        "at": pa.timestamp("us", tz="UTC"),
        "first_session": pa.date32(),
        "last_session": pa.date32(),
        "snapshot": pa.int64(),
        "sessions": pa.int64(),
    }
    columns = {
        name: pa.repeat(pa.scalar(value, types.get(name, pa.string())), len(trials)) for name, value in common.items()
    }
    columns["parameters"] = pa.array(parameter_texts(trials.index, study.held), pa.string())
    for name in METRICS:
        values = trials[name].to_numpy(dtype=float)
        columns[name] = pa.array(values, pa.float64(), mask=np.isnan(values))
    flags = trials["flag"].tolist() if "flag" in trials.columns else [""] * len(trials)
    columns["flag"] = pa.array(flags, pa.string())
    return pa.table({name: columns[name] for name in COLUMNS})


def parameter_texts(index: pd.Index[Any], held: Mapping[str, object]) -> list[str]:
    """The parameters of every row as canonical JSON: those in the index and those held, sorted by name.

    >>> parameter_texts(pd.Index([20, 60], name="lookback"), {"top": 1})
    ['{"lookback":20,"top":1}', '{"lookback":60,"top":1}']
    """
    pieces: dict[str, Iterable[str]] = {
        name: itertools.repeat(f"{json.dumps(name)}:{canonical(value)}", len(index)) for name, value in held.items()
    }
    if not (index.nlevels == 1 and index.name is None):
        for level, name in enumerate(index.names):
            # A grid repeats few values many times: each is put into words once.
            codes, uniques = pd.factorize(index.get_level_values(level))
            texts = np.array([f"{json.dumps(name)}:{canonical(value)}" for value in uniques.tolist()], dtype=object)
            pieces[str(name)] = texts[codes].tolist()
    if not pieces:
        return ["{}"] * len(index)
    return ["{" + ",".join(row) + "}" for row in zip(*(pieces[name] for name in sorted(pieces)), strict=True)]


def _publish(table: pa.Table, file: Path) -> None:
    """Give a part its name only when it is whole and on the disk; the first of two equal parts stays."""
    import pyarrow.parquet as pq

    scratch = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with scratch.open("xb") as stream:
            pq.write_table(table, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(scratch, file)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _damaged(files: Sequence[Path], error: Exception) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            pq.read_metadata(file)
        except (pa.ArrowInvalid, OSError):
            return f"{file} of the trial ledger is damaged"
    return f"the trial ledger cannot be read: {str(error).splitlines()[0]}"


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)
