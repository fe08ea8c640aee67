"""Jupyter's view of a pool's kernels: a manager and a client, as nbclient drives them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from queue import Empty
from typing import Any

from workbench.errors import JobError
from workbench.jobs.kernels import ForkedKernel, KernelPool, PlainKernel
from workbench.jobs.kernels.wire import CHUNK_BYTES, OVER, Unpacker, encode

_ANSWERS = "_reply"  # how the types of answers end; all else is a broadcast
_SHUTDOWN_S = 5.0


class PoolKernelManager:
    """Manages one kernel of a pool; the interpreter is always the runner's, whatever a notebook names."""

    def __init__(self, pool: KernelPool) -> None:
        self._pool = pool
        self._kernel: ForkedKernel | PlainKernel | None = None
        self._client: PoolKernelClient | None = None
        self.language_info: dict[str, Any] = {}  # what a notebook is told of its kernel, once it has started

    @property
    def has_kernel(self) -> bool:
        return self._kernel is not None

    @property
    def log_file(self) -> Path:
        """Where the kernel's own output goes, beside what the notebook captures."""
        return self._started.log

    @property
    def _started(self) -> ForkedKernel | PlainKernel:
        if self._kernel is None:
            raise RuntimeError("No kernel is running!")  # the words by which nbclient knows it
        return self._kernel

    async def start_kernel(
        self,
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        extra_arguments: Sequence[str] = (),
    ) -> None:
        """Start the kernel with ``env`` (on top of the pool's) and ``cwd``.

        Raises
        ------
        JobError
            If it ended instead; the message says why.
        """
        kernel = self._pool.take()
        loop = asyncio.get_running_loop()
        try:
            unpacker = Unpacker()
            while True:
                try:
                    data = await loop.sock_recv(kernel.line, CHUNK_BYTES)
                except ConnectionResetError:
                    data = b""
                if not data:
                    raise JobError(f"no kernel: {kernel.why_failed()}")
                if ready := list(unpacker.feed(data)):
                    self.language_info = ready[0]["language_info"]
                    break
            order = {"msg_type": "begin", "env": dict(env or {}), "cwd": cwd or os.getcwd()}
            await loop.sock_sendall(kernel.line, encode(order))
        except BaseException:
            kernel.close()
            raise
        self._kernel = kernel

    def client(self) -> PoolKernelClient:
        self._client = PoolKernelClient(self._started)
        return self._client

    async def is_alive(self) -> bool:
        return self._kernel is not None and self._kernel.poll() is None

    async def interrupt_kernel(self) -> None:
        self._started.signal(signal.SIGINT)

    async def signal_kernel(self, number: int) -> None:
        self._started.signal(number)

    async def request_shutdown(self, restart: bool = False) -> None:
        """Ask the kernel to run its exit functions and to end."""
        kernel = self._started
        if isinstance(kernel, PlainKernel):
            kernel.remember_family()
        if self._client is not None:
            self._client.request("shutdown_request", {})

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:
        """End the kernel: by its own means unless ``now``, and if it takes too long by force."""
        if not now:
            await self.request_shutdown()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.exited(), _SHUTDOWN_S)
        await self.signal_kernel(signal.SIGKILL)
        await self.exited()

    async def exited(self) -> int:
        """Wait for the end of the kernel's process; its exit code, minus the signal that killed it."""
        return await self._started.wait()

    async def cleanup_resources(self, restart: bool = False) -> None:
        if self._client is not None:
            self._client.stop_channels()
        if self._kernel is not None:
            self._kernel.close()


class _Channel:
    """The messages of one kind that have come and nobody has asked for yet."""

    def __init__(self, client: PoolKernelClient) -> None:
        self._client = client
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        if timeout is None or not self.messages.empty():
            return await self.messages.get()
        try:
            return await asyncio.wait_for(self.messages.get(), timeout)
        except TimeoutError:
            raise Empty from None

    def send(self, message: dict[str, Any]) -> None:
        self._client.send(message)


class PoolKernelClient:
    """The runner's end of the wire. ``order`` goes along with every cell, for :mod:`workbench.jobs.kernels.app`."""

    def __init__(self, kernel: ForkedKernel | PlainKernel) -> None:
        self.order: dict[str, Any] | None = None
        self.over = asyncio.Event()  # the kernel has ended by itself, though its process may still be there
        self.allow_stdin = False  # there is nobody to answer
        self.session = self  # what makes messages
        self.shell_channel = _Channel(self)
        self.iopub_channel = _Channel(self)
        self._kernel = kernel
        self._line = kernel.line
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unpacker = Unpacker()
        self._unsent = b""
        self._waits_for_room = False
        self._numbers = count(1)

    def start_channels(self) -> None:
        """Listen; to be called in the event loop that everything else is called in."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._line, self._read)

    def stop_channels(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._line)
            self._loop.remove_writer(self._line)
        self._loop = None

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Nothing to wait for: a kernel is ready when its manager has started it."""

    async def is_alive(self) -> bool:
        return self._kernel.poll() is None

    async def get_shell_msg(self, timeout: float | None = None) -> dict[str, Any]:
        return await self.shell_channel.get_msg(timeout)

    def kernel_info(self) -> str:
        return self.request("kernel_info_request", {})

    def execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: Mapping[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
    ) -> str:
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": dict(user_expressions or {}),
            "allow_stdin": self.allow_stdin if allow_stdin is None else allow_stdin,
            "stop_on_error": stop_on_error,
        }
        return self.request("execute_request", content, {} if self.order is None else {"workbench": self.order})

    def request(self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None) -> str:
        """Send a request; its number, which the answers name."""
        message = self.msg(kind, content, metadata=metadata)
        self.send(message)
        return str(message["header"]["msg_id"])

    def msg(
        self,
        kind: str,
        content: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A message to the kernel."""
        header = {"msg_id": f"r{next(self._numbers)}", "msg_type": kind}
        return {"header": header, "msg_type": kind, "content": content or {}, "metadata": metadata or {}}

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, at once as far as there is room for it."""
        self._unsent += encode(message)
        self._write()

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[self._line.send(self._unsent) :]
        except BlockingIOError:
            pass  # there is no room: the loop says when there is
        except (BrokenPipeError, ConnectionResetError):  # it is dead, which its manager knows
            self._unsent = b""
        if self._loop is None:
            return
        if self._unsent and not self._waits_for_room:
            self._loop.add_writer(self._line, self._write)
        elif not self._unsent and self._waits_for_room:
            self._loop.remove_writer(self._line)
        self._waits_for_room = bool(self._unsent)

    def _read(self) -> None:
        try:
            data = self._line.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data and self._loop is not None:
            self._loop.remove_reader(self._line)
        for message in self._unpacker.feed(data):
            kind = message["msg_type"]
            if kind == OVER:
                self.over.set()
                continue
            channel = self.shell_channel if kind.endswith(_ANSWERS) else self.iopub_channel
            channel.messages.put_nowait(_as_jupyter(message))


def _as_jupyter(message: dict[str, Any]) -> dict[str, Any]:
    """A message of the kernel in the form that Jupyter's clients know."""
    return {
        "header": {"msg_type": message["msg_type"], "date": datetime.fromtimestamp(message["at"], UTC)},
        "msg_type": message["msg_type"],
        "parent_header": {"msg_id": message["parent"]},
        "content": message["content"],
        "metadata": message["metadata"],
        "buffers": message["buffers"],
    }
