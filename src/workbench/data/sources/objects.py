"""Files in object storage that speaks S3, fetched through DuckDB's httpfs and then read like any file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from workbench.data.dataset import Staged
from workbench.data.sources import spool, tables
from workbench.data.sources.files import PARQUETS, FileSource, Progress
from workbench.data.sources.reading import Reading
from workbench.data.sources.text import quoted
from workbench.errors import ConfigError, DataError

if TYPE_CHECKING:
    import duckdb

_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class ObjectSource:
    """The objects that ``s3://BUCKET/KEY`` names; ``*`` stands for a part of a key, a ``/`` at the end for all below.

    Credentials come from the environment, as of Amazon's own tools: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
    ``AWS_SESSION_TOKEN``, ``AWS_REGION``, and ``AWS_ENDPOINT_URL`` for storage elsewhere. Without keys a bucket has to
    be public.
    """

    def __init__(
        self,
        location: str,
        reading: Reading | None = None,
        *,
        env: Mapping[str, str],
        progress: Progress | None = None,
    ) -> None:
        if not re.fullmatch(r"s3://[^/*?]+/.+", location):
            raise ConfigError(f"{location} is no object", hint="write s3://BUCKET/KEY, with * for a part of the key")
        self.name = location
        self.reading = reading or Reading()
        self._env = env
        self._progress = progress

    @cached_property
    def digest(self) -> str:
        """Of the bytes of all objects, and of how they are read."""
        return self._files.digest

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Read all objects into temporary tables; see :func:`workbench.data.sources.staging.stage`."""
        return self._files.stage(connection)

    @cached_property
    def _files(self) -> FileSource:
        import duckdb

        folder = spool.folder_of(self)
        secrets = tuple(self._env.get(name, "") for name in _SECRETS)
        with spool.connect() as connection:
            tables.load_extension(connection, "httpfs")
            connection.execute(_secret(self._env))
            try:
                keys = self._keys(connection)
                for number, key in enumerate(keys):
                    if self._progress:
                        self._progress(number, len(keys), key)
                    _fetch(connection, key, folder)
            except (duckdb.Error, OSError) as error:
                raise spool.failure(self.name, "cannot be read", error, secrets) from None
        found = FileSource(folder, self.reading, name=self.name, progress=self._progress)
        return found

    def _keys(self, connection: duckdb.DuckDBPyConnection) -> list[str]:
        pattern = f"{self.name}*" if self.name.endswith("/") else self.name
        if not any(sign in pattern for sign in "*?["):
            return [pattern]
        found = [str(row[0]) for row in connection.execute(f"SELECT file FROM glob({quoted(pattern)})").fetchall()]
        keys = [key for key in sorted(found) if not key.endswith("/")]
        if not keys:
            raise DataError(f"{self.name}: no object fits it")
        names = [key.rpartition("/")[2] for key in keys]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{self.name}: two objects are called {twice}", hint="load them one after the other")
        return keys


def _fetch(connection: duckdb.DuckDBPyConnection, key: str, folder: Path) -> None:
    """Copy an object into ``folder``: Parquet as a stream of rows, anything else as it is."""
    file = folder / key.rpartition("/")[2]
    if file.suffix.lower() in PARQUETS:
        connection.execute(f"COPY (SELECT * FROM read_parquet({quoted(key)})) TO {quoted(str(file))} (FORMAT parquet)")
        return
    rows = connection.execute(f"SELECT content FROM read_blob({quoted(key)})").fetchall()
    if not rows:
        raise DataError(f"{key}: there is no such object")
    file.write_bytes(rows[0][0])


def _secret(env: Mapping[str, str]) -> str:
    """The statement that tells DuckDB the keys; they end with the connection."""
    options = ["TYPE s3"]
    for option, name in (("KEY_ID", _SECRETS[0]), ("SECRET", _SECRETS[1]), ("SESSION_TOKEN", _SECRETS[2])):
        if env.get(name):
            options.append(f"{option} {quoted(env[name])}")
    options.append(f"REGION {quoted(env.get('AWS_REGION') or env.get('AWS_DEFAULT_REGION') or 'us-east-1')}")
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        options += [f"ENDPOINT {quoted(parts.netloc)}", f"USE_SSL {str(parts.scheme == 'https').lower()}"]
        options.append("URL_STYLE 'path'")
    return f"CREATE SECRET objects ({', '.join(options)})"
