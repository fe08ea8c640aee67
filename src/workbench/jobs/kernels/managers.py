"""Jupyter's view of a pool's kernels: a kernel manager and its two provisioners.

A provisioner is jupyter_client's own seam for starting processes, so nbclient, and any other client,
drives these kernels as it drives all others.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import traitlets
import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from workbench.jobs.kernels import ForkedKernel, KernelPool

if TYPE_CHECKING:
    import psutil

_POLL_S = 0.02


class PoolKernelClient(AsyncKernelClient):
    """Sends ``order`` along with every cell; :mod:`workbench.jobs.kernels.app` is who reads it."""

    order: dict[str, Any] | None = None

    def execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: dict[str, Any] | None = None,
        allow_stdin: bool | None = None,
        stop_on_error: bool = True,
    ) -> str:
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": user_expressions or {},
            "allow_stdin": self.allow_stdin if allow_stdin is None else allow_stdin,
            "stop_on_error": stop_on_error,
        }
        metadata = {} if self.order is None else {"workbench": self.order}
        message = self.session.msg("execute_request", content, metadata=metadata)
        self.shell_channel.send(message)
        return cast(str, message["header"]["msg_id"])


class PoolKernelManager(AsyncKernelManager):
    """Manages one kernel of a pool; the interpreter is always the runner's, whatever a notebook names."""

    pool = traitlets.Instance(KernelPool)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.client_factory = PoolKernelClient
        self.context.setsockopt(zmq.RCVHWM, 0)  # by default messages are dropped when a thousand wait
        if os.name == "posix":  # sockets in a private folder, not ports that every user of the machine can reach
            self.transport = "ipc"
            self.ip = self.pool.new_place()
            self.connection_file = f"{self.ip}.json"
        kind = ForkProvisioner if self.pool.forks else ProcessProvisioner
        self.provisioner = kind(parent=self, kernel_spec=self.kernel_spec)

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-P", "-m", "workbench.jobs.kernels.app", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Workbench", language="python", interrupt_mode="signal")

    @property
    def log_file(self) -> Path:
        """Where the kernel's own output goes, beside what the notebook captures."""
        assert self.provisioner is not None
        return cast("ForkProvisioner | ProcessProvisioner", self.provisioner).log_file

    async def start_kernel(  # type: ignore[override]  # the base class declares it synchronous
        self, **kwargs: Any
    ) -> None:
        """Start the kernel with ``env`` (on top of the pool's) and ``cwd``.

        Without the base class's decorator, which prints a traceback of an error that is raised as well.
        """
        command, kwargs = await self._async_pre_start_kernel(**kwargs)
        await self._async_launch_kernel(command, **kwargs)
        await self._async_post_start_kernel(**kwargs)

    async def exited(self) -> int:
        """Wait for the end of the kernel's process; its exit code, minus the signal that killed it."""
        assert self.provisioner is not None
        code = await self.provisioner.wait()
        assert code is not None
        return code


class ForkProvisioner(KernelProvisionerBase):
    """Takes a forked kernel from the pool."""

    parent: PoolKernelManager
    kernel: ForkedKernel | None = None

    @property
    def has_process(self) -> bool:
        return self.kernel is not None

    @property
    def log_file(self) -> Path:
        assert self.kernel is not None
        return self.kernel.log

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        return {"cmd": [], "env": kwargs.get("env") or {}, "cwd": kwargs.get("cwd") or os.getcwd()}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        kernel = self.parent.pool.take()
        try:
            await kernel.ready()
            kernel.assign(kwargs["env"], Path(kwargs["cwd"]))
        except BaseException:
            kernel.close()
            raise
        self.kernel = kernel
        info = cast(KernelConnectionInfo, {**kernel.connection, "key": kernel.connection["key"].encode()})
        # The kernel has written the connection file; the manager only has to know the same.
        self.parent.connection_file = f"{info['ip']}.json"
        self.parent.load_connection_info(info)
        return self.parent.get_connection_info()

    async def poll(self) -> int | None:
        return self.kernel.poll() if self.kernel else 0

    async def wait(self) -> int | None:
        return await self.kernel.wait() if self.kernel else 0

    async def send_signal(self, signum: int) -> None:
        if self.kernel:
            self.kernel.signal(signum)

    async def kill(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart: bool = False) -> None:
        if self.kernel:
            self.kernel.close()


class ProcessProvisioner(LocalProvisioner):
    """Starts an ordinary ipykernel process in a session of its own; it polls for the runner's death."""

    parent: PoolKernelManager
    exit_code: int | None = None
    _family: Sequence[psutil.Process] = ()

    @property
    def log_file(self) -> Path:
        return Path(self.parent.connection_file).with_suffix(".log")

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs["env"] = {**self.parent.pool.env, **(kwargs.get("env") or {})}
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        with self.log_file.open("ab") as log:
            return await super().launch_kernel(cmd, **{**kwargs, "stdout": log, "stderr": log})

    async def shutdown_requested(self, restart: bool = False) -> None:
        self._remember_family()

    async def send_signal(self, signum: int) -> None:
        self._remember_family()
        await super().send_signal(signum)

    async def poll(self) -> int | None:
        if self.process is not None and self.exit_code is None:
            self.exit_code = self.process.poll()
            if self.exit_code is not None:
                self._kill_group()
        return self.exit_code

    async def wait(self) -> int | None:
        while await self.poll() is None:
            await asyncio.sleep(_POLL_S)
        return self.exit_code

    def _remember_family(self) -> None:
        """Note what the kernel has started while it can still be asked."""
        import psutil

        if self.pid is not None and psutil.pid_exists(self.pid):
            self._family = psutil.Process(self.pid).children(recursive=True)

    def _kill_group(self) -> None:
        """End what the notebook started, as far as it is known: there is no subreaper here."""
        if self.pgid is not None and hasattr(os, "killpg"):
            with suppress(ProcessLookupError):  # nothing was left
                os.killpg(self.pgid, signal.SIGKILL)
        for process in self._family:
            if process.is_running():
                process.kill()
