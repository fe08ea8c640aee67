"""The runner's end of the wire to a kernel: nbclient executes a cell, and what it hears is kept within limits."""

from __future__ import annotations

import asyncio
from typing import Any

from nbclient import NotebookClient
from nbformat import NotebookNode

from workbench.jobs.engine import Job
from workbench.jobs.engine.outputs import Outputs
from workbench.jobs.engine.tags import SKIP_TAG
from workbench.jobs.kernels.managers import PoolKernelClient, PoolKernelManager

_MIME_MESSAGES = ("display_data", "execute_result", "update_display_data")


class CellClient(NotebookClient):
    """nbclient's execution of a cell, with word of what the kernel does."""

    def __init__(self, nb: NotebookNode, job: Job, km: PoolKernelManager) -> None:
        super().__init__(nb, km=km, iopub_timeout=30, skip_cells_with_tag=SKIP_TAG, on_cell_executed=self._note_reply)
        self.begun = asyncio.Event()  # the kernel works on the cell: from here on it can be interrupted
        self.changed = False  # since somebody last set it to False
        self.heard = 0.0  # when the kernel last said something about the running cell
        self.faults: list[dict[str, Any]] = []  # what the kernel reports with the end of the cell
        self.shown: dict[str, Any] | None = None  # an exception that was shown while the cell ran
        self.outputs = Outputs(job.limits, job.output_log)
        self._job = job
        self._log = str(job.output_log.resolve()) if job.output_log else None  # the kernel is in another folder

    def begin(self, number: int) -> None:
        """The cell that is executed next has this number."""
        assert isinstance(self.kc, PoolKernelClient)
        self.begun.clear()
        self.heard = self._job.clock.monotonic()
        self.faults, self.shown = [], None
        self.outputs.begin()
        self.kc.order = {
            "cell": number,
            "allow": self.outputs.allow,
            "log": self._log,
            "log_bytes": self._job.limits.log_bytes,
        }

    async def close(self) -> dict[str, Any]:
        """Tell the kernel that the notebook is over; its closing record."""
        assert isinstance(self.kc, PoolKernelClient)
        self.kc.order = {"closing": True}
        reply = await self.silently("")
        record: dict[str, Any] = reply["metadata"].get("workbench", {})
        return record

    async def silently(self, code: str) -> dict[str, Any]:
        """Have the kernel run code that is no cell; its reply."""
        assert isinstance(self.kc, PoolKernelClient)
        request = self.kc.execute(code, silent=True, store_history=False)
        while True:
            reply: dict[str, Any] = await self.kc.get_shell_msg()
            if reply["parent_header"].get("msg_id") == request:
                return reply

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        self.heard = self._job.clock.monotonic()
        self.changed = True
        kind, content = msg["msg_type"], msg["content"]
        if kind == "execute_input":
            self.begun.set()
        elif kind == "stream" and self._job.on_stream is not None:
            self._job.on_stream(content["name"], content["text"])
        elif kind == "error":
            self.outputs.error(content)
            self.shown = content
        elif kind in _MIME_MESSAGES:
            content["data"] = self.outputs.rich(content["data"], replaces=kind == "update_display_data")
        return super().process_message(msg, cell, cell_index)

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        captured = bool(self.output_hook_stack[msg["parent_header"].get("msg_id")])  # by an output widget
        if captured or msg["msg_type"] != "stream":
            if self.clear_before_next_output and not captured:
                self.outputs.clear()
            return super().output(outs, msg, display_id, cell_index)
        content = msg["content"]
        if not self.clear_before_next_output and self.outputs.printed(outs, content["name"], content["text"]):
            return None
        if self.clear_before_next_output:
            self.outputs.clear()
        out = super().output(outs, msg, display_id, cell_index)
        self.outputs.first(outs)
        return out

    def clear_output(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int) -> None:
        super().clear_output(outs, msg, cell_index)
        if not outs:
            self.outputs.clear()

    def _note_reply(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        self.faults = execute_reply.get("metadata", {}).get("workbench", {}).get("faults", [])
