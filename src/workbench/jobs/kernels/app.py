"""The kernel itself: IPython's, told which cell it runs, with its printing limited and its silent faults watched.

The same in a forked kernel (:mod:`workbench.jobs.kernels.zygote`) and in an ordinary process, which runs this module.
The runner's word about a cell comes in the metadata of its execute request, the kernel's in that of the reply:
any other Jupyter client may drive these kernels without knowing of either.
"""

# ipykernel has no types:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import zmq
from ipykernel.compiler import XCachingCompiler
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets.config import Config

from workbench.jobs.kernels import commands
from workbench.jobs.kernels.interrupts import Interrupts
from workbench.jobs.kernels.streams import meter
from workbench.jobs.kernels.watch import Watch

METADATA = "workbench"  # the key of ours in a message's metadata
_JOIN_S = 1.0


class Kernel(IPythonKernel):
    """IPython's kernel for one production notebook."""

    # ipykernel sleeps after every cell, for clients that do not wait until the kernel says that it is idle.
    _execute_sleep = 0.0

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        assert self.shell is not None
        self.shell.kernel = self.shell.parent = self  # of a shell that was there before the kernel
        self._watch = Watch()
        self._watch.install()
        meter.broken = lambda reason: self._watch.fault(reason, log=True)
        commands.install(self.shell)
        self._interrupts = Interrupts()
        self._interrupts.install(self.shell)
        self.shell.ask_exit = _leave  # exit() and quit() fail the cell, as sys.exit() does

    def start(self) -> None:
        super().start()
        if os.name == "posix":
            # A loop that handles any signal is woken by all of them. ipykernel cancels an interrupted async cell
            # with a callback that does not wake it: the cell would sleep on until something else happens.
            loop: Any = self.io_loop
            loop.asyncio_loop.add_signal_handler(signal.SIGWINCH, _nothing)

    def pre_handler_hook(self) -> None:
        self._interrupts.begin()
        self.saved_sigint_handler = signal.signal(signal.SIGINT, self._interrupts.handle)

    async def execute_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        order = (parent.get("metadata") or {}).get(METADATA)
        if order is not None and order.get("closing"):
            await self._watch.settle()
        elif order is not None:
            self._watch.begin(order["cell"])
            meter.begin(order["cell"], order["allow"], order["log"], order["log_bytes"])
        await super().execute_request(stream, ident, parent)

    def finish_metadata(self, parent: dict[str, Any], metadata: dict[str, Any], reply: dict[str, Any]) -> Any:
        metadata = super().finish_metadata(parent, metadata, reply)
        order = (parent.get("metadata") or {}).get(METADATA)
        if order is not None:
            if not order.get("closing"):
                self._watch.end()
            metadata[METADATA] = self._watch.report()
        return metadata

    async def _progressively_terminate_all_children(self) -> None:
        """Leave them to the guard. ipykernel waits up to half a minute for children nobody reaps."""


class KernelApp(IPKernelApp):
    """Starts and ends a :class:`Kernel`."""

    def parse_command_line(self, argv: Any = None) -> None:
        if argv:  # building the parser takes a tenth of a kernel's start
            super().parse_command_line(argv)

    def load_config_file(self, *arguments: Any, **options: Any) -> None:
        """Read nobody's configuration, the machine's included: it would change a production run."""

    def init_iopub(self, context: zmq.Context[Any]) -> None:
        context.setsockopt(
            zmq.SNDHWM, 0
        )  # by default the 1,001st message that waits is dropped, the last word included
        super().init_iopub(context)


def prepare_shell(folder: Path) -> None:
    """Make IPython's shell, a third of a kernel's start, before kernels are forked: each takes the one it finds."""
    config = _configure(Config(), folder)
    profile = ProfileDir.create_profile_dir_by_name(config.IPKernelApp.ipython_dir, "default")
    ZMQInteractiveShell.instance(config=config, profile_dir=profile, user_ns={}, compiler_class=XCachingCompiler)


def application(folder: Path, arguments: list[str], config: Config, **traits: Any) -> KernelApp:
    """An application that is ready to start; ``folder`` is private to the pool."""
    _configure(config, folder)
    app = KernelApp.instance(config=config, kernel_class=Kernel, **traits)
    app.initialize(arguments)
    return app


def _configure(config: Config, folder: Path) -> Config:
    config.HistoryManager.enabled = False
    # A folder of the pool's own: nobody's start-up files or IPython configuration change a production run.
    profiles = folder / "ipython"
    profiles.mkdir(exist_ok=True)
    config.IPKernelApp.ipython_dir = str(profiles)
    config.IPKernelApp.outstream_class = "workbench.jobs.kernels.streams.Stream"
    return config


def end(app: KernelApp) -> NoReturn:
    """What the interpreter does at its end, up to the part that a forked process cannot do.

    Threads are joined, exit functions run and the notebook's objects (connections, files) are released.
    Two things are left out. The destructors of C libraries: some, pyarrow's among them, join threads that
    stayed behind in the zygote, and abort or wait for ever. And ipykernel's orderly closing of its sockets:
    it closes them while its control thread still sends, which aborts the process now and then.
    """
    for thread in (app.control_thread, app.shell_channel_thread):
        thread.join(_JOIN_S)
    atexit.unregister(app.close)
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter itself calls
    atexit._run_exitfuncs()
    assert app.shell is not None
    app.shell.user_ns.clear()
    gc.collect()
    os._exit(0)


def main(argv: list[str]) -> NoReturn:
    """Serve one notebook: ``-f CONNECTION_FILE``."""
    app = application(Path(argv[-1]).parent, argv, Config())
    app.start()
    end(app)


def _nothing() -> None:
    """Handle a signal that needs nothing done."""


def _leave() -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    main(sys.argv[1:])
