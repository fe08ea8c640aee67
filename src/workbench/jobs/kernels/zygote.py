"""The helper process that forks kernels: imports once, then a ready kernel costs some twenty milliseconds.

Three kinds of process, each the child of the one before, all in sessions without a terminal:

    runner            guard     outlives the zygote, and leaves nothing alive behind it
    runner--control-->  zygote  imports the preloaded modules, forks, passes signals on, reports exit statuses
    runner--line----->    kernel  one notebook, then gone

A kernel is the subreaper of what its notebook starts (what leaves its family stays below it), so that whatever is
left when it ends falls to the zygote, which kills it; what is left when the zygote ends falls to the guard.

Death travels downwards without anybody's help. The zygote has a socket to the runner, so that even a SIGKILL of the
runner is an end of file there; it gets SIGTERM when the guard dies, and a kernel SIGKILL when the zygote does
(``PR_SET_PDEATHSIG``).

Only on Linux; :mod:`workbench.jobs.kernels` is the side that the runner calls.
"""

from __future__ import annotations

import ctypes
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
from typing import NoReturn

# Everything a kernel imports while it starts, so that no fork has to.
_KERNEL_MODULES = (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
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
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a runner that ignores it hands that down
    channels = [socket.socket(fileno=int(descriptor)) for descriptor in argv]
    for channel in channels:
        channel.set_inheritable(False)
    spared, spare = os.pipe()
    guard = os.getpid()
    zygote = os.fork()
    if zygote:
        for channel in channels:
            channel.close()
        os.close(spare)
        return _guard(zygote, spared)
    os.close(spared)
    _die_with_parent(signal.SIGTERM, guard)
    return _zygote(*channels, spare=spare)


def _guard(zygote: int, spared: int) -> int:
    """Outlive the zygote; what it leaves behind dies, but for the process whose number comes through ``spared``."""
    _name("wb-guard")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _, status = os.waitpid(zygote, 0)
    _end_orphans({int(number) for number in os.read(spared, _MESSAGE_BYTES).split()})
    return max(0, os.waitstatus_to_exitcode(status))


def _zygote(control: socket.socket, *lines: socket.socket, spare: int) -> int:
    """Import what is wanted, and fork; in a forked kernel this does not return."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    folder: str = json.loads(control.recv(_MESSAGE_BYTES))["folder"]
    gc.disable()  # of what imports make nothing is garbage: looking for it takes a fifth of their time
    writers = set()
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
            writers.add(_fork_pages(line, (control, spare), order["cache"]))
        os.write(spare, b" ".join(b"%d" % pid for pid in writers))
        os.close(spare)
        with _ends_with(control, folder):
            _preload(order["preload"], order["calendars"], order["cache"], Path(folder))
    except Exception as error:
        traceback.print_exc()
        control.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return 1
    request = _Kernels(control, writers).serve()
    control.close()
    if request is None:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    _kernel(request)


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
    for name in _KERNEL_MODULES:
        importlib.import_module(name)


def _fork_pages(line: socket.socket, others: tuple[socket.socket, int], cache: str | None) -> int:
    """Fork the writer of pages; its number. It outlives this process: it ends when its line does."""
    pid = os.fork()
    if pid:
        line.close()
        return pid
    others[0].close()
    os.close(others[1])
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
    from workbench.jobs.kernels import app

    app.prepare(folder)
    # The shared pages stay shared: no collection in a child touches them. Nothing is collected first: the one object in
    # a hundred that imports leave as garbage is not worth the fifth of a second that finding it takes.
    gc.freeze()
    gc.enable()


class _Request:
    """One kernel to make: its log and the two sockets towards the runner."""

    def __init__(self, message: bytes, descriptors: list[int]) -> None:
        self.log = Path(json.loads(message)["log"])
        self.guard, self.line = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for channel in (self.guard, self.line):
            channel.set_inheritable(False)

    def close(self) -> None:
        self.guard.close()
        self.line.close()


class _Kernels:
    """The zygote's kernels, and what it does for them: forks, signals, and an end that leaves nothing.

    Parameters
    ----------
    control
        Where the runner asks for kernels, and whose end is the runner's.
    others
        Children that are no kernels and are left alone.
    """

    def __init__(self, control: socket.socket, others: set[int]) -> None:
        self._control = control
        self._others = others
        self._zygote = os.getpid()
        self._requests: dict[int, _Request] = {}
        self._listening: dict[socket.socket, int] = {}  # to whom the runner still speaks
        self._wake, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def serve(self) -> _Request | None:
        """Fork a kernel per request. Returns its request in a kernel, None in the zygote after the runner."""
        while True:
            waits = select.poll()
            waits.register(self._wake, select.POLLIN)
            for channel in (self._control, *self._listening):
                waits.register(channel, select.POLLIN)
            ready = {descriptor for descriptor, _ in waits.poll()}
            for channel, pid in list(self._listening.items()):
                if channel.fileno() in ready:
                    self._pass_on(channel, pid)
            if self._wake in ready:
                if signal.SIGTERM in os.read(self._wake, 64):
                    break
                for pid in list(self._requests):
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                        self._bury(pid)
            if self._control.fileno() in ready:
                message, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 2)
                if not message:
                    break
                if len(descriptors) < 2:  # this process may open no more: the runner finds the kernel's line closed
                    for descriptor in descriptors:
                        os.close(descriptor)
                    continue
                request = _Request(message, descriptors)
                if self._fork(request):
                    return request
        for pid in list(self._requests):
            self._bury(pid)
        return None

    def _fork(self, request: _Request) -> bool:
        """Fork a kernel; true in the kernel."""
        if threading.active_count() > 1:
            raise RuntimeError(f"a preloaded module started threads: {threading.enumerate()}")
        try:
            pid = os.fork()
        except OSError as error:  # this machine is full: that one kernel is not there, which its log says
            request.log.write_text(f"{error}\n")
            request.close()
            return False
        if pid:
            request.line.close()
            self._requests[pid] = request
            self._listening[request.guard] = pid
            if not _tell(request.guard, pid=pid):
                _signal_group(pid, signal.SIGKILL)
            return False
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _die_with_parent(signal.SIGKILL, self._zygote)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for descriptor in (self._wake, self._wake_write):
            os.close(descriptor)
        for channel in (request.guard, *self._listening):
            channel.close()
        return True

    def _pass_on(self, channel: socket.socket, pid: int) -> None:
        """Pass a signal on to a kernel's process group; kill it when the runner has let go of it."""
        order = _receive(channel)
        if not order:
            del self._listening[channel]
        _signal_group(pid, json.loads(order)["signal"] if order else signal.SIGKILL)

    def _bury(self, pid: int) -> None:
        """Kill a kernel and what it leaves behind, and tell the runner its exit code (minus the signal that killed it).

        The group is killed before the kernel is reaped: until then nobody can reuse its number. What had left the
        group (a daemon of its own session) was below the kernel, and is a child of this process now.
        """
        request = self._requests.pop(pid)
        self._listening.pop(request.guard, None)
        _signal_group(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        _end_orphans(self._others | self._requests.keys())
        if not _tell(request.guard, exit=os.waitstatus_to_exitcode(status)):
            request.log.unlink(missing_ok=True)  # the runner would have read and removed it
        request.guard.close()


def _end_orphans(spared: set[int]) -> None:
    """Kill all children but those, and theirs, which become this process's in turn."""
    while orphans := _children() - spared:
        for pid in orphans:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except PermissionError:  # it has become another user's, who alone can end it
                spared = {*spared, pid}


def _children() -> set[int]:
    """The numbers of this process's children, of those too that are dead and not buried yet."""
    try:
        return {int(number) for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except FileNotFoundError:  # a kernel of Linux without that file
        import psutil

        return {child.pid for child in psutil.Process().children()}


def _kernel(request: _Request) -> NoReturn:
    """Become a kernel that waits for the runner's order and serves one notebook."""
    from workbench.jobs.kernels.app import serve

    _name("wb-kernel")
    _reseed()
    sys.argv = ["workbench-kernel"]
    code = 1
    try:
        serve(request.line, request.log)
    except SystemExit as error:  # of a task, which ends the loop
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()  # into the kernel's log
        sys.stderr.flush()
    finally:
        os._exit(code)


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
    except PermissionError:  # all of it has become another user's
        return


def _tell(channel: socket.socket, **message: int) -> bool:
    """Tell the runner something; False if it does not listen any more."""
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
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter apart would take a tenth of a second, for which the runner waits
