"""The kernel itself: IPython's, told which cell it runs, with its printing limited and its silent faults watched.

The same in a forked kernel (:mod:`workbench.jobs.kernels.zygote`) and in an ordinary process, which runs this module.
It speaks Jupyter's messages on one socket (:mod:`workbench.jobs.kernels.wire`) and does all its work in one thread:
what a cell shows, its answer and the word that it is done leave in this order. The runner's word about a cell comes in
the metadata of its execute request, the kernel's in that of the reply.
"""

# ipykernel has no types:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import gc
import inspect
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from ipykernel.compiler import XCachingCompiler
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from tornado.ioloop import IOLoop
from traitlets.config import Config

from workbench.jobs.engine import imports_without
from workbench.jobs.kernels import commands
from workbench.jobs.kernels.interrupts import Interrupts
from workbench.jobs.kernels.session import WireSession
from workbench.jobs.kernels.streams import Stream, Watcher, meter
from workbench.jobs.kernels.watch import Watch
from workbench.jobs.kernels.wire import CHUNK_BYTES, OVER, Unpacker, encode

_LOGGER = "workbench.kernel"
METADATA = "workbench"  # the key of ours in a message's metadata


class _AskedTwice:
    """A question about a cell that ipykernel asks, to see whether it awaits something, and IPython again to run it."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask
        self._known: tuple[tuple[Any, ...], Any] | None = None

    def __call__(self, raw_cell: str, **more: Any) -> Any:
        asked = (raw_cell, *more.items())
        known, self._known = self._known, None
        if known is not None and known[0] == asked:
            return known[1]
        answer = self._ask(raw_cell, **more)
        self._known = (asked, answer)
        return answer

    def forget(self) -> None:
        """Another cell begins: what it means may depend on what has happened since."""
        self._known = None


class Kernel(IPythonKernel):
    """IPython's kernel for one production notebook."""

    # ipykernel sleeps after every cell, for clients that do not wait until the kernel says that it is idle.
    _execute_sleep = 0.0

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        assert self.shell is not None
        self._watch = Watch()
        self._watch.install()
        meter.broken = lambda reason: self._watch.fault(reason, log=True)
        commands.install(self.shell)
        self._questions = [_AskedTwice(self.shell.transform_cell), _AskedTwice(self.shell.should_run_async)]
        self.shell.transform_cell, self.shell.should_run_async = self._questions
        self._interrupts = Interrupts()
        self._interrupts.install(self.shell)
        self.shell.ask_exit = _leave  # exit() and quit() fail the cell, as sys.exit() does
        assert isinstance(self.session, WireSession)
        self._wire = self.session
        self._request: dict[str, Any] = {}
        # All that ipykernel asks of the thread that it reads the shell's socket in.
        self.shell_channel_thread = SimpleNamespace(parent_thread=threading.main_thread())

    def attach(self, line: socket.socket) -> None:
        """Take over this process's standard streams and the line to the runner."""
        hold = self._interrupts.held
        self._wire.attach(line, hold)
        self._process = os.getpid()
        self._streams = [
            Stream(name, number, self._post_text, self._wire.deliver, hold, self._show_life)
            for number, name in _STREAMS.items()
        ]
        sys.stdout, sys.stderr = self._streams
        Watcher(self._streams)
        self.io_loop = IOLoop.current()
        # A loop that handles any signal is woken by all of them. ipykernel cancels an interrupted async cell
        # with a callback that does not wake it: the cell would sleep on until something else happens.
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, _nothing)
        # A cell may get more signals than the loop has room for while it cannot look at them.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Answer one request."""
        self._request = message
        # A cell may have taken them away, and IPython cannot do without.
        sys.stdout, sys.stderr = (sys.stdout or self._streams[0], sys.stderr or self._streams[1])
        self.set_parent([], message, channel="shell")
        handler = self.shell_handlers.get(message["msg_type"])
        self._interrupts.begin()
        before = signal.signal(signal.SIGINT, self._interrupts.handle)
        try:
            if handler is None:
                self.log.warning("unknown request %r", message["msg_type"])
            elif inspect.isawaitable(answer := handler(None, [], message)):
                await answer
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            self.log.exception("%s failed", message["msg_type"])
            if message["msg_type"] == "execute_request":  # nobody has answered, or the runner takes the first answer
                told = {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
                self._wire.send(None, "execute_reply", told, message)
        finally:
            signal.signal(signal.SIGINT, before)
        if os.getpid() != self._process:
            os._exit(0)  # a child that the cell forked, and that has come to the cell's end
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # somebody's own, or none at all
                stream.flush()
        for own in self._streams:
            own.flush()
        self._publish_status("idle", "shell")

    async def execute_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        for question in self._questions:
            question.forget()
        order = parent["metadata"].get(METADATA)
        if order is not None and order.get("closing"):
            await self._watch.settle()
        elif order is not None:
            self._watch.begin(order["cell"])
            meter.begin(order["cell"], order["allow"], order["log"], order["log_bytes"])
        await super().execute_request(stream, ident, parent)

    def finish_metadata(self, parent: dict[str, Any], metadata: dict[str, Any], reply: dict[str, Any]) -> Any:
        metadata = super().finish_metadata(parent, metadata, reply)
        order = parent["metadata"].get(METADATA)
        if order is not None:
            if not order.get("closing"):
                self._watch.end()
            metadata[METADATA] = self._watch.report()
        return metadata

    def _abort_queues(self, subshell_id: str | None = None) -> None:
        """Nothing waits behind a cell that has failed."""

    def _post_text(self, name: str, text: str) -> None:
        # Whoever prints, a task of an earlier cell or a thread: the runner listens for the running cell.
        self._wire.post("stream", {"name": name, "text": text}, self._request)

    def _show_life(self) -> None:
        """Let the runner know that the cell still prints, though nothing of it is sent."""
        self._publish_status("busy", "shell", self._request)


_STREAMS = {1: "stdout", 2: "stderr"}


def prepare(folder: Path) -> None:
    """Make the kernel of this process, or of all that are forked from it; ``folder`` is private to the pool."""
    config = Config()
    config.HistoryManager.enabled = False
    # A folder of the pool's own: nobody's start-up files or IPython configuration change a production run.
    config.IPKernelApp.ipython_dir = str(folder / "ipython")
    profile = ProfileDir.create_profile_dir_by_name(str(_made(folder / "ipython")), "default")
    # ipykernel's application is never started: libraries see by it that they run in a notebook, and ask for its kernel.
    app = IPKernelApp.instance(config=config)
    shell = ZMQInteractiveShell.instance(
        config=config, profile_dir=profile, user_ns={}, compiler_class=XCachingCompiler
    )
    with imports_without(
        "debugpy"
    ):  # no debugger comes to a production run, and importing it takes a tenth of a second
        session = WireSession(config=config)
        kernel = Kernel.instance(
            parent=app, session=session, profile_dir=profile, user_ns=shell.user_ns, log=logging.getLogger(_LOGGER)
        )
    app.kernel = shell.kernel = shell.parent = kernel
    app.init_shell()
    app.init_pdb()
    app.init_gui_pylab()
    app.init_extensions()
    if "pandas" in sys.modules:
        # Imported before there was a shell, it has taken this process for a terminal, and fits frames to its width.
        sys.modules["pandas"].set_option("display.max_columns", 20)
    assert shell.display_formatter is not None
    shell.display_formatter.format(None)  # makes IPython's dozen of formatters, for all kernels at once
    # ipykernel asks for every cell which parameters this takes.
    run_cell: Any = InteractiveShell.run_cell_async
    run_cell.__signature__ = inspect.signature(run_cell)


def serve(line: socket.socket, log: Path) -> NoReturn:
    """Say that the kernel is ready, wait for the runner's order, serve one notebook, and end this process."""
    descriptor = _redirect(log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line.setblocking(True)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_serve(line, descriptor))
    _end(descriptor, line)


async def _serve(line: socket.socket, log: int) -> None:
    kernel = Kernel.instance()
    _log_into(log)
    requests: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    unpacker = Unpacker()

    def read() -> None:
        try:
            data = line.recv(CHUNK_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            loop.remove_reader(line)
            requests.put_nowait(None)
        for message in unpacker.feed(data):
            requests.put_nowait(message)

    loop = asyncio.get_running_loop()
    loop.add_reader(line, read)
    line.sendall(encode({"msg_type": "ready", "language_info": kernel.language_info}))
    order = await requests.get()
    if order is None:
        os._exit(0)  # the runner is gone or does not need this kernel
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    kernel.attach(line)
    while True:
        try:
            request = await requests.get()
        except asyncio.CancelledError:  # a cell has cancelled all tasks there are
            me = asyncio.current_task()
            assert me is not None
            me.uncancel()
            continue
        if request is None or request["msg_type"] == "shutdown_request":
            return
        await kernel.dispatch(request)


def _end(log: int, line: socket.socket) -> NoReturn:
    """What the interpreter does at its end, up to the part that a forked process cannot do.

    Threads are joined, exit functions run and the notebook's objects (connections, files) are released. What they
    print goes into the kernel's log. The destructors of C libraries are left out: some, pyarrow's among them, join
    threads that stayed behind in the zygote, and abort or wait for ever.

    The runner is told when nothing of the notebook can happen any more: the system takes another 15 ms to take the
    memory back, which nobody needs to wait for.
    """
    for number, name in _STREAMS.items():
        os.dup2(log, number)
        setattr(sys, name, getattr(sys, f"__{name}__"))
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter itself calls
    atexit._run_exitfuncs()
    ZMQInteractiveShell.instance().user_ns.clear()
    gc.collect()
    for name in _STREAMS.values():
        getattr(sys, name).flush()
    if sys.platform == "linux":
        _let_go_of_files(line.fileno())
        session = Kernel.instance().session
        assert isinstance(session, WireSession)
        session.send(None, OVER)
    os._exit(0)


def _let_go_of_files(spared: int) -> None:
    """Release locks and ports now; the numbers stay taken, as a thread may still write to what it knows by them."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in {int(name) for name in os.listdir("/proc/self/fd")} - {spared, null}:
        os.dup2(null, number)


def _redirect(log: Path) -> int:
    """No input, and everything the notebook does not capture into the kernel's log; the log's descriptor."""
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(null)
    faulthandler.enable(file)  # a crash in C says where; needs a descriptor that nobody captures
    enable = faulthandler.enable

    def enable_in_log(file: Any = file, all_threads: bool = True) -> None:
        enable(file, all_threads)

    faulthandler.enable = enable_in_log  # if a library enables it, too
    return file


def _log_into(descriptor: int) -> None:
    """Have ipykernel's own words in the kernel's log."""
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(logging.StreamHandler(os.fdopen(os.dup(descriptor), "a")))
    logger.propagate = False


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _nothing() -> None:
    """Handle a signal that needs nothing done."""


def _leave() -> NoReturn:
    raise SystemExit


def main(argv: list[str]) -> NoReturn:
    """Serve one notebook on the line of descriptor ``argv[0]``, with ``argv[1]`` as the log."""
    line, log = socket.socket(fileno=int(argv[0])), Path(argv[1])
    line.set_inheritable(False)
    _end_with_parent()
    prepare(log.parent)
    serve(line, log)


def _end_with_parent() -> None:
    """Look now and then whether the runner is still there: an ordinary process has no guard."""
    from ipykernel.parentpoller import ParentPollerUnix

    ParentPollerUnix(parent_pid=os.getppid()).start()


if __name__ == "__main__":
    main(sys.argv[1:])
