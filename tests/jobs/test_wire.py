"""The wire between runner and kernel: whole messages in order, whoever sends them and whatever comes in between."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import NotebookFailed
from workbench.jobs.engine import execute
from workbench.jobs.kernels import KernelPool
from workbench.jobs.kernels.interrupts import Interrupts
from workbench.jobs.kernels.session import WireSession
from workbench.jobs.kernels.wire import Unpacker, pack

Write = Callable[..., Path]
LARGE = "x" * 3_000_000  # more than any socket holds

_MESSAGES = st.lists(
    st.tuples(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.none()), st.lists(st.binary(max_size=30)))
)


@given(_MESSAGES, st.lists(st.integers(1, 40)))
def test_messages_come_out_as_they_went_in_whatever_the_pieces(
    messages: list[tuple[dict[str, Any], list[bytes]]], sizes: list[int]
) -> None:
    sent = [{"content": content, "buffers": buffers} for content, buffers in messages]
    stream = b"".join(
        pack(
            json.dumps({**message, "buffers": [len(part) for part in message["buffers"]]}).encode(), message["buffers"]
        )
        for message in sent
    )
    unpacker, came = Unpacker(), []
    for size in sizes:
        came += unpacker.feed(stream[:size])
        stream = stream[size:]
    came += unpacker.feed(stream)
    assert came == sent


@pytest.fixture
def line() -> Iterator[tuple[WireSession, socket.socket]]:
    near, far = socket.socketpair()
    session = WireSession()
    session.attach(near, nullcontext)
    with near, far:
        yield session, far


def _receive(far: socket.socket, number: int) -> list[dict[str, Any]]:
    unpacker, came = Unpacker(), []
    while len(came) < number:
        data = far.recv(1 << 16)
        assert data, f"the line ended after {len(came)} of {number} messages"
        came += unpacker.feed(data)
    return came


def test_messages_of_several_threads_do_not_mix(line: tuple[WireSession, socket.socket]) -> None:
    session, far = line
    senders = [
        threading.Thread(
            target=lambda n=n: [session.send(None, "stream", {"n": n, "i": i, "text": LARGE}) for i in range(3)]
        )
        for n in range(3)
    ]
    for sender in senders:
        sender.start()
    came = [message["content"] for message in _receive(far, 9)]
    for sender in senders:
        sender.join()
    assert all(content["text"] == LARGE for content in came)
    for n in range(3):
        assert [content["i"] for content in came if content["n"] == n] == [0, 1, 2]


def test_what_a_signals_handler_says_waits_for_the_message_that_it_met(
    line: tuple[WireSession, socket.socket],
) -> None:
    session, far = line
    came: list[dict[str, Any]] = []

    def read() -> None:
        far.recv(1, socket.MSG_PEEK)  # the message has begun, and waits for room
        os.kill(os.getpid(), signal.SIGUSR1)
        came.extend(_receive(far, 2))

    reader = threading.Thread(target=read)
    before = signal.signal(signal.SIGUSR1, lambda *_: session.send(None, "stream", {"text": "handler"}))
    try:
        reader.start()
        session.send(None, "stream", {"text": LARGE})
        reader.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [message["content"]["text"] for message in came] == [LARGE, "handler"]


def test_an_interruption_waits_until_the_message_is_out(line: tuple[WireSession, socket.socket]) -> None:
    session, far = line
    interrupts, came = Interrupts(), []
    near = session._line
    assert near is not None
    session.attach(near, interrupts.held)

    def read() -> None:
        far.recv(1, socket.MSG_PEEK)
        os.kill(os.getpid(), signal.SIGINT)
        came.extend(_receive(far, 1))

    reader = threading.Thread(target=read)
    before = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        reader.start()
        with pytest.raises(KeyboardInterrupt), interrupts:
            session.send(None, "stream", {"text": LARGE})
        reader.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert [message["content"]["text"] for message in came] == [LARGE]


def test_a_handler_that_raises_leaves_a_message_that_the_next_one_completes(
    line: tuple[WireSession, socket.socket],
) -> None:
    session, far = line
    came: list[dict[str, Any]] = []
    raised = threading.Event()

    def read() -> None:
        far.recv(1, socket.MSG_PEEK)
        os.kill(os.getpid(), signal.SIGUSR1)
        raised.wait()
        came.extend(_receive(far, 2))

    def complain(*_: object) -> None:
        raise ZeroDivisionError

    reader = threading.Thread(target=read)
    before = signal.signal(signal.SIGUSR1, complain)
    try:
        reader.start()
        with pytest.raises(ZeroDivisionError):
            session.send(None, "stream", {"text": LARGE})
        raised.set()
        session.send(None, "stream", {"text": "next"})
        reader.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [message["content"]["text"] for message in came] == [LARGE, "next"]


class _Narrow:
    """A line that takes a few bytes at a time, as many as is said."""

    def __init__(self, line: socket.socket, sizes: list[int]) -> None:
        self._line, self._sizes, self.together = line, iter(sizes), 0

    def sendmsg(self, parts: list[memoryview]) -> int:
        data = b"".join(parts)
        self.together += len(parts) > 1
        return self._line.send(data[: next(self._sizes, len(data))])


class _Interrupted(deque[Any]):
    """Messages of a sender that is stopped before it lets go of the first, now and then."""

    def popleft(self) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls % 2:
            raise ZeroDivisionError
        return super().popleft()


@given(st.lists(st.integers(0, 300), min_size=2, max_size=6), st.lists(st.integers(1, 400), max_size=30))
def test_messages_that_wait_go_together_and_come_out_one_by_one(texts: list[int], sizes: list[int]) -> None:
    near, far = socket.socketpair()
    session, narrow = WireSession(), _Narrow(near, sizes)
    session.attach(narrow, nullcontext)  # type: ignore[arg-type]  # all that it needs of a socket
    session._waiting = _Interrupted()
    for size in texts:
        session.post("stream", {"text": "x" * size})
    while session._waiting:
        with suppress(ZeroDivisionError):
            session.deliver()
    near.close()
    with far:
        came = list(Unpacker().feed(b"".join(iter(lambda: far.recv(1 << 16), b""))))
    assert [len(message["content"]["text"]) for message in came] == texts
    assert narrow.together > 0


def test_the_answer_to_a_cell_waits_for_the_word_that_it_is_done(line: tuple[WireSession, socket.socket]) -> None:
    session, far = line
    session.send(None, "execute_reply", {"status": "ok"})
    with pytest.raises(BlockingIOError):
        far.recv(1, socket.MSG_DONTWAIT)
    session.send(None, "status", {"execution_state": "idle"})
    assert [message["msg_type"] for message in Unpacker().feed(far.recv(1 << 16))] == ["execute_reply", "status"]


def test_a_runner_that_is_gone_stops_nobody(line: tuple[WireSession, socket.socket]) -> None:
    session, far = line
    far.close()
    session.send(None, "stream", {"text": LARGE})
    session.send(None, "stream", {"text": "next"})
    assert session._line is None


# ---- what notebooks and libraries expect of a kernel -------------------------------------------------

# What runs, and what of its outputs is looked at: the text of streams and results, or the types of a display.
_EXPECTED = {
    "a plot": (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        [["image/png", "text/plain"]],
    ),
    "a widget": (
        "import ipywidgets\nipywidgets.IntSlider()",
        [["application/vnd.jupyter.widget-view+json", "text/plain"]],
    ),
    "what a widget captures": (
        "import ipywidgets\nout = ipywidgets.Output()\ndisplay(out)\nwith out: print('captured')",
        [["application/vnd.jupyter.widget-view+json", "text/plain"]],
    ),
    "the notebook's signs": (
        "shell = get_ipython()\nprint(type(shell).__name__, 'IPKernelApp' in shell.config, shell.kernel is not None)",
        ["ZMQInteractiveShell True True\n"],
    ),
    "a wide frame": (
        "import pandas as pd\nprint(pd.get_option('display.max_columns'))",
        ["20\n"],
    ),
    "a display that changes": ("h = display('first', display_id=True); h.update('second')", [["text/plain"]]),
    "an output that is cleared": (
        "from IPython.display import clear_output\nprint('gone'); clear_output(); print('kept')",
        ["kept\n"],
    ),
    "a child at the descriptor": ("import subprocess\nsubprocess.run(['echo', 'child']);", ["child\n"]),
    "a child at Python's stream": (
        "import subprocess, sys\nsubprocess.run(['echo', 'child'], stdout=sys.stdout);",
        ["child\n"],
    ),
    "a forked child": (
        "import multiprocessing\np = multiprocessing.get_context('fork').Process(target=print, args=('forked',))\n"
        "p.start(); p.join()",
        ["forked\n"],
    ),
    "a thread of an earlier cell": ("later.set(); speaker.join()", ["from the thread\n"]),
    "a task of an earlier cell": ("gate.set(); await task", ["from the task\n"]),
    "a name that is no text": ("print('\\udc80x')", ["\ufffdx\n"]),
    "half a character": ("print('\\ud800x')", ["?x\n"]),
    "a stream of the notebook's own": ("import io, sys\nprint('first'); sys.stdout = io.StringIO()", ["first\n"]),
    "no stream": ("import sys\nprint('first'); sys.stdout = None", ["first\n"]),
    "no tasks": ("for each in asyncio.all_tasks() - {task}: each.cancel()\nprint('here')", ["here\n"]),
    "a child that comes to the cell's end": (
        "import os\nchild = os.fork()\nif child: print(os.waitpid(child, 0)[1])",
        ["0\n"],
    ),
    "a handler that prints while a display changes": (
        "import signal\nshown = display('0', display_id=True)\n"
        "signal.signal(signal.SIGALRM, lambda *_: print('.', end='', flush=True))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
        "for n in range(3000): shown.update(str(n))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0);",
        [["text/plain"], None],
    ),
    "a handler that raises in a print": (
        "import signal\ndone = []\ndef ring(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, ring)\n"
        "for n in range(500):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.0005)\n"
        "        while True: print(f'<{len(done)}>', flush=True); done.append(1)\n"
        "    except TimeoutError: pass\n",
        [None],
    ),
    "a question": ("input('?')", NotebookFailed),
    "a closed descriptor": ("import os\nos.close(1)\nprint('python')", ["python\n"]),
}
_BEFORE = (
    "import asyncio, threading\nlater = threading.Event()\n"
    "speaker = threading.Thread(target=lambda: (later.wait(), print('from the thread')), daemon=True)\n"
    "speaker.start()\n"
    "gate = asyncio.Event()\nasync def speak():\n    await gate.wait()\n    print('from the task')\n"
    "task = asyncio.create_task(speak())"
)


@pytest.fixture(scope="module")
def bare() -> Iterator[KernelPool]:
    with KernelPool(preload=("pandas",), calendars=()) as kernels:
        yield kernels


@pytest.mark.parametrize("name", _EXPECTED)
def test_a_notebook_finds_what_it_expects_of_jupyter(
    name: str, bare: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    source, expected = _EXPECTED[name]
    output = tmp_path / "out.ipynb"
    file = notebook(_BEFORE, source, "later.set(); speaker.join(); gate.set()")
    if expected is NotebookFailed:
        with pytest.raises(NotebookFailed):
            execute(file, output, {}, pool=bare)
        return
    execute(file, output, {}, pool=bare)
    outputs = json.loads(output.read_text())["cells"][2]["outputs"]
    shown = [sorted(out["data"]) if "data" in out else "".join(out["text"]) for out in outputs]
    assert [None if wanted is None else out for out, wanted in zip(shown, expected, strict=True)] == expected
    if name == "a handler that raises in a print":
        numbers = {int(number) for number in re.findall(r"<(\d+)>", shown[0])}
        assert len(numbers) > 20
        assert numbers >= set(range(max(numbers)))  # whatever print has taken is there


def test_a_cell_means_what_it_means_now_though_it_was_read_before(pool, notebook, tmp_path):
    change = "shell.input_transformers_post.append(lambda lines: [line.replace('plain', 'changed') for line in lines])"
    execute(
        notebook(f"shell = get_ipython()\nshell.run_cell(\"y = 'plain'\"); {change}", "y = 'plain'", "print(y)"),
        tmp_path / "out.ipynb",
        {},
        pool=pool,
    )
    assert nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1].outputs[0].text == "changed\n"
