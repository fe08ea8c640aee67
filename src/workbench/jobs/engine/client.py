"""A cell's execution: what the kernel says of it goes through nbclient's hooks, and is kept within limits."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from nbclient import NotebookClient
from nbclient.client import timestamp
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode, from_dict

from workbench.jobs.engine import Job
from workbench.jobs.engine.outputs import Outputs
from workbench.jobs.engine.tags import SKIP_TAG
from workbench.jobs.kernels.managers import PoolKernelClient

_RESULT = {"data", "metadata", "execution_count"}
_MIME_MESSAGES = ("display_data", "execute_result", "update_display_data")


class CellClient(NotebookClient):
    """nbclient's client, with word of what the kernel does."""

    line: PoolKernelClient

    def __init__(self, nb: NotebookNode, job: Job) -> None:
        super().__init__(nb, skip_cells_with_tag=SKIP_TAG)
        self.begun = asyncio.Event()  # the kernel works on the cell: from here on it can be interrupted
        self.changed = False  # since somebody last set it to False
        self.heard = 0.0  # when the kernel last said something about the running cell
        self.faults: list[dict[str, Any]] = []  # what the kernel reports with the end of the cell
        self.shown: dict[str, Any] | None = None  # an exception that was shown while the cell ran
        self.outputs = Outputs(job.limits, job.output_log)
        self._job = job
        self._log = str(job.output_log.resolve()) if job.output_log else None  # the kernel is in another folder

    def connect(self, line: PoolKernelClient) -> None:
        """Speak to the kernel of this line."""
        self.line = line
        self.kc = cast(Any, line)  # of a cell's widgets, which answer

    def begin(self, number: int) -> None:
        """The cell that is executed next has this number."""
        self.begun.clear()
        self.heard = self._job.clock.monotonic()
        self.faults, self.shown = [], None
        self.outputs.begin()
        self.line.order = {
            "cell": number,
            "allow": self.outputs.allow,
            "log": self._log,
            "log_bytes": self._job.limits.log_bytes,
        }

    async def async_execute_cell(
        self, cell: NotebookNode, cell_index: int, execution_count: int | None = None, store_history: bool = True
    ) -> NotebookNode:
        """Execute one code cell.

        nbclient waits for the answer, for the outputs and for the kernel's death in a task each, as they come on
        sockets of their own. Here the word that the cell is done comes last.
        """
        cell.metadata["execution"] = {}
        cell.outputs = []
        self.clear_before_next_output = False
        request = self.line.execute(cell.source, store_history=store_history)
        self.code_cells_executed += 1
        try:
            while True:
                message = await self.line.iopub_channel.get_msg()
                if message["parent_header"]["msg_id"] == request:
                    self.process_message(message, cell, cell_index)
        except CellExecutionComplete:
            reply = await self._reply(request)
        cell.metadata["execution"]["shell.execute_reply"] = timestamp(reply)
        self.faults = reply["metadata"].get("workbench", {}).get("faults", [])
        await self._check_raise_for_error(cell, cell_index, reply)
        return cell

    async def close(self) -> dict[str, Any]:
        """Tell the kernel that the notebook is over; its closing record."""
        self.line.order = {"closing": True}
        reply = await self.silently("")
        record: dict[str, Any] = reply["metadata"].get("workbench", {})
        return record

    async def silently(self, code: str) -> dict[str, Any]:
        """Have the kernel run code that is no cell; its reply."""
        return await self._reply(self.line.execute(code, silent=True, store_history=False))

    async def _reply(self, request: str) -> dict[str, Any]:
        while True:
            reply = await self.line.get_shell_msg()
            if reply["parent_header"]["msg_id"] == request:
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
            if not captured and not self.clear_before_next_output and display_id is None and _is_plain_result(msg):
                # What nbformat's schema would say of it is known, and it takes half a millisecond to say it.
                made = {"output_type": "execute_result", **msg["content"]}
                outs.append(from_dict(made))  # type: ignore[no-untyped-call]  # nbformat has no types
                return outs[-1]
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


def _is_plain_result(msg: dict[str, Any]) -> bool:
    """Whether a message is the value of a cell, whole, and of text alone."""
    content = msg["content"]
    return (
        msg["msg_type"] == "execute_result"
        and content.keys() == _RESULT
        and all(isinstance(text, str) for text in content["data"].values())
        and content["metadata"] == {}
        and isinstance(content["execution_count"], int)
    )
