"""The helper process that forks kernels: imports once, then a ready kernel costs some forty milliseconds.

Three kinds of process, each the child of the one before, all in sessions without a terminal:

    runner --control--> zygote      imports the preloaded modules, forks, never runs a notebook
                          guard     one per kernel: passes signals on, reports the exit status, and
                                    leaves nothing alive: it is the subreaper of all that the notebook starts
                            kernel  one notebook, then gone

Death travels downwards without anybody's help. A socket of the zygote and of every guard ends at the
runner, so that even a SIGKILL of the runner is an end of file there; a guard gets SIGTERM when the zygote
dies and a kernel SIGKILL when its guard does (``PR_SET_PDEATHSIG``).

Only on Linux; :mod:`workbench.jobs.kernels` is the side that the runner calls.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

# Everything a kernel imports while it starts, so that no fork has to.
_KERNEL_MODULES = (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "pdb",
    "tornado.platform.asyncio",
)
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_MESSAGE_BYTES = 1 << 17
_JOIN_S = 1.0


def main(argv: list[str]) -> int:
    """Serve fork requests on the socket whose descriptor is the only argument, until the runner closes it."""
    control = socket.socket(fileno=int(argv[0]))
    control.set_inheritable(False)
    order = json.loads(control.recv(_MESSAGE_BYTES))
    try:
        _preload(order["preload"], order["calendars"])
    except Exception as error:
        traceback.print_exc()
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return 1
    request = _serve(control)
    control.close()
    if request is None:
        shutil.rmtree(order["folder"], ignore_errors=True)
        return 0
    _guard(request, Path(order["folder"]))


def _preload(modules: list[str], calendars: list[str]) -> None:
    # A kernel in production has no debugger attached, and debugpy costs a tenth of a second.
    sys.modules["debugpy"] = None  # type: ignore[assignment]  # None makes the import system refuse the name
    for name in _KERNEL_MODULES:
        importlib.import_module(name)
    del sys.modules["debugpy"]
    for name in modules:
        importlib.import_module(name)
    if calendars:
        from workbench.calendars import calendar

        for code in calendars:
            calendar(code)
    gc.collect()
    gc.freeze()  # the shared pages stay shared: no collection in a child touches them


class _Request:
    """One kernel to make: its connection and the two sockets towards the runner."""

    def __init__(self, message: bytes, descriptors: list[int]) -> None:
        self.connection: dict[str, Any] = json.loads(message)
        self.guard, self.kernel = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for channel in (self.guard, self.kernel):
            channel.set_inheritable(False)

    def close(self) -> None:
        self.guard.close()
        self.kernel.close()


def _serve(control: socket.socket) -> _Request | None:
    """Fork a guard per request. Returns its request in a guard, None in the zygote after the runner."""
    guards: set[int] = set()
    zygote = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 2)
        if not message:
            break
        guards -= {pid for pid in guards if os.waitpid(pid, os.WNOHANG) != (0, 0)}
        request = _Request(message, descriptors)
        if threading.active_count() > 1:
            raise RuntimeError(f"a preloaded module started threads: {threading.enumerate()}")
        pid = os.fork()
        if pid == 0:
            _die_with_parent(signal.SIGTERM, zygote)
            return request
        guards.add(pid)
        request.close()
    for pid in guards:
        os.kill(pid, signal.SIGTERM)
    for pid in guards:
        os.waitpid(pid, 0)
    return None


def _guard(request: _Request, folder: Path) -> NoReturn:
    """Fork the kernel and outlive it, so that it and all it started end together."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _name("wb-guard")
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.close(wake_read)
        os.close(wake_write)
        request.guard.close()
        os.setsid()
        _die_with_parent(signal.SIGKILL, guard)
        _kernel(request, folder)
    request.kernel.close()
    _tell(request.guard, pid=pid)
    _watch(request.guard, wake_read, pid)
    status = _bury(pid)
    _remove_sockets(request.connection)
    _tell(request.guard, exit=status)
    os._exit(0)


def _watch(channel: socket.socket, wake: int, pid: int) -> None:
    """Pass signals on to the kernel's process group until it exits; kill it when the runner is gone."""
    while True:
        readable, _, _ = select.select([channel.fileno(), wake], [], [])
        if wake in readable:
            signals = os.read(wake, 64)
            if signal.SIGTERM in signals:
                _signal_group(pid, signal.SIGKILL)
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
        if channel.fileno() in readable:
            order = _receive(channel)
            _signal_group(pid, json.loads(order)["signal"] if order else signal.SIGKILL)
            if not order:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                return


def _bury(pid: int) -> int:
    """Kill what the kernel left behind, and return its exit code (minus the signal that killed it).

    The group is killed before the kernel is reaped: until then nobody can reuse its number. What had left
    the group (a daemon of its own session) was reparented to this process, its subreaper.
    """
    _signal_group(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return os.waitstatus_to_exitcode(status)
        import psutil

        for child in psutil.Process().children():
            child.kill()
        os.waitpid(-1, 0)


def _kernel(request: _Request, folder: Path) -> NoReturn:
    """Become an IPython kernel on the given connection, wait for the runner's order, serve one notebook."""
    _name("wb-kernel")
    connection = request.connection
    name = Path(connection["ip"]).name
    _redirect(folder / f"{name}.log")
    _reseed()
    sys.argv = ["workbench-kernel"]
    app = _application(connection, folder, name)
    request.kernel.send(b"ready")
    order = _receive(request.kernel)
    if not order:
        os._exit(0)  # the runner is gone or does not need this kernel
    request.kernel.close()
    settings = json.loads(order)
    os.environ.update(settings["env"])
    os.chdir(settings["cwd"])
    app.start()
    _end(app)


def _end(app: Any) -> NoReturn:
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
    app.shell.user_ns.clear()
    gc.collect()
    os._exit(0)


def _application(connection: dict[str, Any], folder: Path, name: str) -> Any:
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    config = Config()
    config.Session.key = connection["key"].encode()
    config.HistoryManager.enabled = False
    # A folder of the pool's own: nobody's start-up files or IPython configuration change a production run.
    profiles = folder / "ipython"
    profiles.mkdir(exist_ok=True)
    config.IPKernelApp.ipython_dir = str(profiles)
    ports = {port: number for port, number in connection.items() if port.endswith("_port")}
    app = IPKernelApp.instance(
        config=config,
        kernel_class=_kernel_class(),
        connection_file=str(folder / f"{name}.json"),
        transport=connection["transport"],
        ip=connection["ip"],
        parent_handle=1,  # init: no polling thread, death travels by signal
        **ports,
    )
    app.initialize([])  # type: ignore[no-untyped-call]  # ipykernel has no types here
    return app


def _kernel_class() -> type:
    from ipykernel.ipkernel import IPythonKernel

    class Kernel(IPythonKernel):
        async def _progressively_terminate_all_children(self) -> None:
            """Leave them to the guard. ipykernel waits up to half a minute for children nobody reaps."""

    return Kernel


def _redirect(log: Path) -> None:
    """No input, and everything the notebook does not capture into the kernel's log."""
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(null)
    faulthandler.enable(file)  # a crash in C says where; needs a descriptor that nobody captures


def _reseed() -> None:
    """Forked twins must not draw the same random numbers."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # not yet the leader of its group
        os.kill(pid, number)


def _tell(channel: socket.socket, **message: int) -> None:
    try:
        channel.send(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError):
        return  # the runner is gone; the guard ends all the same


def _receive(channel: socket.socket) -> bytes:
    try:
        return channel.recv(_MESSAGE_BYTES)
    except ConnectionResetError:
        return b""


def _remove_sockets(connection: dict[str, Any]) -> None:
    for name, port in connection.items():
        if name.endswith("_port"):
            Path(f"{connection['ip']}-{port}").unlink(missing_ok=True)


def _die_with_parent(number: int, parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def _name(name: str) -> None:
    """What ``ps`` shows, at most 15 characters."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


def _prctl(option: int, value: int | ctypes.c_char_p) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    argument = value if isinstance(value, ctypes.c_char_p) else ctypes.c_ulong(value)
    nothing = ctypes.c_ulong(0)
    if libc.prctl(option, argument, nothing, nothing, nothing) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
