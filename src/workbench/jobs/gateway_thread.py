"""Hosts the account's gateway beside a running notebook, in a thread of the runner's process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date

from workbench.clock import Clock
from workbench.domain import Snapshot
from workbench.journal import Journal
from workbench.settings import Settings
from workbench.trading.gateway import Gateway, GatewayParts


class GatewayThread:
    """Open the account for a session, serve a step's orders, close.

    ``build`` makes the gateway's parts in the serving thread, because stores belong to the thread that opened
    them. ``on_error`` is called if the gateway fails while it serves, so that the notebook is not left waiting.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        session: date,
        run_id: str,
        build: Callable[[], GatewayParts],
        on_error: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._session = session
        self._run_id = run_id
        self._build = build
        self._on_error = on_error
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._snapshot: Snapshot | None = None
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    @property
    def error(self) -> BaseException | None:
        """What the gateway failed with, if it did."""
        return self._error

    def start(self) -> Snapshot:
        """Open the account; returns when it is reconciled at the session's close.

        Raises
        ------
        WorkbenchError
            Whatever kept the gateway from opening.
        """
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        assert self._snapshot is not None
        return self._snapshot

    def stop(self) -> None:
        """Close the account and raise what the gateway failed with, if it did."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with Journal(self._settings.journal_file, self._clock) as journal:
                gateway = Gateway(journal, self._build())
                failed = True
                try:
                    self._snapshot = gateway.open(self._session, self._run_id)
                    self._ready.set()
                    gateway.prepare()
                    gateway.serve(self._stop)
                    failed = False
                finally:
                    gateway.close(failed=failed)
        except BaseException as error:  # carried to the runner's thread, which raises it
            self._error = error
            if self._ready.is_set():
                self._on_error()
        finally:
            self._ready.set()
