from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.lab import PATIENCE_S, make_lab_home

with warnings.catch_warnings():  # jupyter-scheduler 2.12 uses a decorator that SQLAlchemy 2.1 wants gone
    warnings.filterwarnings("ignore", "The declarative_mixin decorator")
    import jupyter_scheduler.orm  # noqa: F401

from workbench.lab.environments import ThisEnvironment
from workbench.lab.execution import LedgerExecution
from workbench.lab.scheduler import LedgerScheduler


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own."""
    folder = make_lab_home(tmp_path / "home")
    monkeypatch.setenv("WORKBENCH_CONFIG", str(folder / "workbench.toml"))
    return folder


@pytest.fixture
def server(home: Path) -> Callable[[], LedgerScheduler]:
    """Start what a JupyterLab server has of the scheduler; a second call is a second server."""
    return lambda: LedgerScheduler(root_dir=str(home), environments_manager=ThisEnvironment())


class Idle(LedgerScheduler):
    """A server that makes jobs and does not start them."""

    def _watch(self, execution: LedgerExecution) -> None:
        self._watched.discard(execution.job_id)


@pytest.fixture
def idle(home: Path) -> Callable[[], LedgerScheduler]:
    """Start a server that makes jobs and does not start them."""
    return lambda: Idle(root_dir=str(home), environments_manager=ThisEnvironment())


@pytest.fixture(autouse=True)
def _no_job_is_left() -> Iterator[None]:
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("job "):
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} still runs"
