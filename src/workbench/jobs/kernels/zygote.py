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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

# Everything a kernel imports while it starts, so that no fork has to.
_KERNEL_MODULES = (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "ipykernel.zmqshell",
    "pdb",
    "tornado.platform.asyncio",
    "workbench.jobs.kernels.app",
)
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_MESSAGE_BYTES = 1 << 17


def main(argv: list[str]) -> int:
    """Serve fork requests on the socket of the first descriptor, until the runner closes it.

    A second descriptor is the line to a writer of pages, which is forked as soon as its own imports are all it needs.
    """
    control, *lines = (socket.socket(fileno=int(descriptor)) for descriptor in argv)
    for channel in (control, *lines):
        channel.set_inheritable(False)
    folder: str = json.loads(control.recv(_MESSAGE_BYTES))["folder"]
    gc.disable()  # of what imports make nothing is garbage: looking for it takes a fifth of their time
    try:
        with _ends_with(control, folder):
            _preload_kernel()
        # What else is wanted the runner may find out meanwhile.
        message = control.recv(_MESSAGE_BYTES)
        if not message:
            shutil.rmtree(folder, ignore_errors=True)
            return 0
        order = json.loads(message)
        for line in lines:
            _fork_pages(line, control, order["cache"])
        with _ends_with(control, folder):
            _preload(order["preload"], order["calendars"], order["cache"], Path(folder))
    except Exception as error:
        traceback.print_exc()
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return 1
    request = _serve(control)
    control.close()
    if request is None:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    _guard(request, Path(folder))


@contextmanager
def _ends_with(control: socket.socket, folder: str) -> Iterator[None]:
    """End this process if the runner is gone, or has had enough, while the block is busy importing."""
    read, write = os.pipe()
    watch = select.poll()
    watch.register(control, select.POLLRDHUP)
    watch.register(read, select.POLLIN)

    def wait() -> None:
        if watch.poll()[0][0] != read:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(write, b"x")
        thread.join()
        os.close(read)
        os.close(write)


def _preload_kernel() -> None:
    # A kernel in production has no debugger attached, and debugpy costs a tenth of a second.
    sys.modules["debugpy"] = None  # type: ignore[assignment]  # None makes the import system refuse the name
    for name in _KERNEL_MODULES:
        importlib.import_module(name)
    del sys.modules["debugpy"]


def _fork_pages(line: socket.socket, control: socket.socket, cache: str | None) -> None:
    """Fork the writer of pages. It outlives this process: it ends when its line does."""
    if os.fork():
        line.close()
        return
    control.close()
    for descriptor in (0, 1, 2):
        os.dup2(line.fileno(), descriptor)
    line.close()
    _name("wb-pages")
    from workbench.jobs.pages import main as write_pages

    try:
        write_pages(cache)
    except BaseException:
        traceback.print_exc()  # every line of it is a complaint
    finally:
        sys.stdout.flush()
        os._exit(0)


def _preload(modules: list[str], calendars: list[str], cache: str | None, folder: Path) -> None:
    for name in modules:
        module, _, prepare = name.partition(":")
        imported = importlib.import_module(module)
        if prepare:
            getattr(imported, prepare)()
    if calendars:
        from workbench.calendars import calendar

        for code in calendars:
            calendar(code, None if cache is None else Path(cache))
    # At last, as libraries that are imported in IPython behave otherwise, each in its own way.
    from workbench.jobs.kernels.app import prepare_shell

    prepare_shell(folder)
    gc.collect()
    gc.freeze()  # the shared pages stay shared: no collection in a child touches them
    gc.enable()


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
    if not _tell(request.guard, exit=status):
        _remove_files(request.connection)
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
    from workbench.jobs.kernels.app import end

    end(app)


def _application(connection: dict[str, Any], folder: Path, name: str) -> Any:
    from traitlets.config import Config

    from workbench.jobs.kernels.app import application

    config = Config()
    config.Session.key = connection["key"].encode()
    ports = {port: number for port, number in connection.items() if port.endswith("_port")}
    return application(
        folder,
        [],
        config,
        connection_file=str(folder / f"{name}.json"),
        transport=connection["transport"],
        ip=connection["ip"],
        parent_handle=1,  # init: no polling thread, death travels by signal
        **ports,
    )


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


def _tell(channel: socket.socket, **message: int) -> bool:
    """Tell the runner something; False if it does not listen any more. The guard ends all the same."""
    try:
        channel.send(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _receive(channel: socket.socket) -> bytes:
    try:
        return channel.recv(_MESSAGE_BYTES)
    except ConnectionResetError:
        return b""


def _remove_sockets(connection: dict[str, Any]) -> None:
    for name, port in connection.items():
        if name.endswith("_port"):
            Path(f"{connection['ip']}-{port}").unlink(missing_ok=True)


def _remove_files(connection: dict[str, Any]) -> None:
    """Remove what the runner would have read and removed."""
    for suffix in (".log", ".json"):
        Path(f"{connection['ip']}{suffix}").unlink(missing_ok=True)


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
