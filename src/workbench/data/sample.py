"""The committed sample of real prices, and what is known to be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from workbench.data.dataset import NOTICE_COLUMNS, Dataset, LoadResult
from workbench.data.lake import Lake
from workbench.data.sources import read_wiki, wiki_digest
from workbench.errors import DataError

_PATTERN = "wiki_*.csv*"
# File -> symbol, first and last session concerned, what is wrong. See data/sample/README.md.
_FAULTS = {
    "wiki_2000_2013_AAPL_FB_GOOG_IBM_MSFT.csv.gz": [
        ("GOOG", "2004-08-19", "2013-03-01", "volume is about twice the shares traded; prices are as traded")
    ]
}


def read_sample(folder: Path) -> list[Dataset]:
    """Read every ``wiki_*.csv`` and ``wiki_*.csv.gz`` in ``folder``, ordered by name.

    Raises
    ------
    DataError
        If there are none, or one is malformed.
    """
    return [read_wiki(file, _notices(file.name)) for file in _files(folder)]


def load_sample(lake: Lake, folder: Path, progress: Callable[[int, int, str], None] | None = None) -> list[LoadResult]:
    """Load the sample, one snapshot per file; files loaded before are not even parsed.

    ``progress`` is called with the number of files done, the number of all, and the name of the next
    (empty at the end).

    Raises
    ------
    DataError
        If there are no files, one is malformed (those before it stay loaded), or the lake refuses.
    """
    files = _files(folder)
    results = []
    for done, file in enumerate(files):
        if progress:
            progress(done, len(files), file.name)
        known = lake.loaded(wiki_digest(file))
        results.append(known or lake.load(read_wiki(file, _notices(file.name))))
    if progress:
        progress(len(files), len(files), "")
    return results


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob(_PATTERN))
    if not files:
        raise DataError(f"no {_PATTERN} in {folder}", hint="the sample comes with the repository, in data/sample")
    return files


def _notices(source: str) -> pd.DataFrame:
    frame = pd.DataFrame(_FAULTS.get(source, []), columns=list(NOTICE_COLUMNS))
    return frame.astype({"first": "datetime64[ns]", "last": "datetime64[ns]"})
