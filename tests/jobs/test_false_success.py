"""A notebook whose cells all end well has not succeeded yet: what went wrong beside them fails it as well."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.errors import KernelDied, NotebookFailed
from workbench.jobs.engine import CellProgress, execute, execution, warm_up
from workbench.jobs.kernels import KernelPool

Cell = str | tuple[str, list[str]]
Write = Callable[..., Path]

_IMPORTS = "import asyncio, os, signal, sys, threading, time\nfrom concurrent.futures import ThreadPoolExecutor\n"
_THREAD = f"{_IMPORTS}go = threading.Event()\n\ndef feed():\n    go.wait()\n    raise ValueError('no feed')\n\n"
_TASK = f"{_IMPORTS}async def feed():\n    raise ValueError('no feed')\n\n"
_POOL = f"{_IMPORTS}pool = ThreadPoolExecutor()\n\n"

# name: the cells, the number of the cell that is blamed, and what is said
FAILURES: dict[str, tuple[list[Cell], int, str]] = {
    "thread": (
        [f"{_THREAD}t = threading.Thread(target=feed, name='feeder'); t.start(); go.set(); t.join()", "1"],
        1,
        "thread 'feeder': ValueError: no feed",
    ),
    "thread whose error is no text in UTF-8": (
        [f"{_IMPORTS}t = threading.Thread(target=lambda: int('a\\ud800b'), name='feeder'); t.start(); t.join()", "1"],
        1,
        "thread 'feeder': ValueError: invalid literal for int()",
    ),
    "thread of an earlier cell": (
        [f"{_THREAD}t = threading.Thread(target=feed, name='feeder'); t.start()", "1", "go.set(); t.join()", "1"],
        1,
        "thread 'feeder': ValueError: no feed",
    ),
    "task dropped": (
        [f"{_TASK}asyncio.create_task(feed(), name='feed');", "await asyncio.sleep(0.01)", "1"],
        1,
        "nobody awaited task 'feed': ValueError: no feed",
    ),
    "task kept": (
        [f"{_TASK}t = asyncio.create_task(feed(), name='feed')", "1"],
        1,
        "nobody awaited task 'feed': ValueError: no feed",
    ),
    "task still running": (
        [f"{_IMPORTS}t = asyncio.create_task(asyncio.sleep(1000), name='poll')", "1"],
        1,
        "task 'poll' was still running at the end",
    ),
    "callback": (
        [f"{_IMPORTS}asyncio.get_event_loop().call_soon(lambda: 1 / 0);", "await asyncio.sleep(0.01)", "1"],
        1,
        "event loop callback: ZeroDivisionError: division by zero",
    ),
    "callback of a loop in a thread": (
        [
            f"{_IMPORTS}async def work():\n    asyncio.get_running_loop().call_soon(lambda: 1 / 0)\n"
            "    await asyncio.sleep(0.01)\n\nawait asyncio.to_thread(lambda: asyncio.run(work()))",
            "1",
        ],
        1,
        "event loop callback: ZeroDivisionError: division by zero",
    ),
    "thread still running": (
        [f"{_IMPORTS}threading.Thread(target=time.sleep, args=(1000,), name='poll').start()", "1"],
        1,
        "thread 'poll' was still running at the end",
    ),
    "pool still working": (
        [f"{_POOL}work = pool.submit(time.sleep, 1000)", "1"],
        1,
        "thread 'ThreadPoolExecutor-0_0' was still running at the end",
    ),
    "pool's exception unseen": (
        [f"{_POOL}with pool:\n    pool.map(int, ['a'])", "1"],
        1,
        "nobody looked at the result of a pool's work: ValueError: invalid literal for int() with base 10: 'a'",
    ),
    "command": (["!false", "1"], 1, "CalledProcessError: Command 'false' returned non-zero exit status 1."),
    "command with a result": (["x = !exit 3", "1"], 1, "CalledProcessError: Command 'exit 3' returned non-zero"),
    "sx": (["%sx false", "1"], 1, "CalledProcessError: Command 'false' returned non-zero exit status 1."),
    "sx cell": (["%%sx\nfalse", "1"], 1, "CalledProcessError: Command 'false' returned non-zero exit status 1."),
    "alias": (["%ls /no/such/folder", "1"], 1, "CalledProcessError: Command 'ls"),
    "command in the background": (["!sleep 1 &", "1"], 1, "OSError: a notebook starts no background processes"),
    "bash": (["%%bash\nfalse", "1"], 1, "CalledProcessError"),
    "sys.exit(0)": ([f"{_IMPORTS}sys.exit(0)", "1"], 1, r"ended the notebook early (SystemExit: 0)"),
    "exit()": (["exit()", "1"], 1, "ended the notebook early (SystemExit)"),
    "quit": (["quit", "1"], 1, "ended the notebook early (SystemExit)"),
    "SystemExit at the end": (["1", "raise SystemExit"], 2, "ended the notebook early (SystemExit)"),
    "script": (["%%writefile s.py\n1 / 0", "%run s.py", "1"], 2, "ZeroDivisionError: division by zero"),
    "script's exit code": (["%%writefile s.py\nimport sys; sys.exit(3)", "%run s.py", "1"], 2, "SystemExit: 3"),
    "representation": (["class A:\n    def __repr__(self): 1 / 0\n\nA()", "1"], 1, "ZeroDivisionError"),
    "unknown magic": (["%nosuch", "1"], 1, "UsageError: Line magic function `%nosuch` not found."),
}

# name: cells that only look like trouble
SUCCESSES: dict[str, list[Cell]] = {
    "task awaited": [f"{_TASK}t = asyncio.create_task(feed())", "try:\n    await t\nexcept ValueError:\n    pass"],
    "task about to end": [f"{_IMPORTS}t = asyncio.create_task(asyncio.sleep(0.1))"],
    "thread about to end": [f"{_IMPORTS}threading.Thread(target=time.sleep, args=(0.1,)).start()"],
    "daemon thread": [f"{_IMPORTS}threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()"],
    "thread that ends itself": [f"{_IMPORTS}t = threading.Thread(target=sys.exit); t.start(); t.join()"],
    "pool left open": [f"{_POOL}pool.submit(int, '1').result()", "await asyncio.to_thread(int, '1')"],
    "pool's exception seen": [f"{_POOL}try:\n    pool.submit(int, 'a').result()\nexcept ValueError:\n    pass"],
    "pool's exception asked for": [f"{_POOL}print(pool.submit(int, 'a').exception())"],
    "pool's exception awaited": [f"{_POOL}try:\n    await asyncio.to_thread(int, 'a')\nexcept ValueError:\n    pass"],
    "command that may fail": ["!false || true", "x = !false || true"],
    "script that exits well": ["%%writefile s.py\nimport sys; sys.exit(0)", "%run s.py"],
    "errors that a tag allows": [
        ("1 / 0", ["raises-exception"]),
        ("import sys; sys.exit(0)", ["raises-exception"]),
        ("!false", ["raises-exception"]),
        ("%run nosuch.py", ["raises-exception"]),
        (f"{_THREAD}t = threading.Thread(target=feed); t.start(); go.set(); t.join()", ["raises-exception"]),
    ],
    "processes": [
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(abs, [-1, 2]))"
    ],
    "warnings": ["import warnings, logging\nwarnings.warn('careful')\nlogging.error('logged')"],
}


@pytest.fixture(scope="module")
def plain() -> Iterator[KernelPool]:
    """Kernels that are ordinary processes."""
    with KernelPool(preload=(), calendars=(), forks=False) as kernels:
        yield kernels


def _fail(
    notebook: Write, tmp_path: Path, pool: KernelPool, cells: list[Cell]
) -> tuple[NotebookFailed, list[CellProgress]]:
    seen: list[CellProgress] = []
    with pytest.raises(NotebookFailed) as caught:
        execute(notebook(*cells), tmp_path / "out.ipynb", {}, pool=pool, on_cell=seen.append, grace_s=0.2)
    return caught.value, seen


@pytest.mark.parametrize("name", FAILURES)
def test_what_goes_wrong_beside_the_cells_fails_the_notebook(
    name: str, pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    cells, blamed, words = FAILURES[name]
    error, seen = _fail(notebook, tmp_path, pool, cells)
    assert error.message.startswith(f"written.ipynb, cell [{blamed}]: {words}")
    last = {progress.number: progress for progress in seen}
    assert last[blamed].state == "error"
    assert last[blamed].reason == error.message
    codes = [c for c in json.loads((tmp_path / "out.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    assert codes[blamed - 1]["metadata"]["papermill"]["status"] == "failed"
    assert any(output["output_type"] == "error" for output in codes[blamed - 1]["outputs"])
    for number, progress in last.items():  # no cell counts as failed that did not, or as done that was not
        states = {"ok": "completed", "error": "failed", "not_run": "pending"}
        assert codes[number - 1]["metadata"]["papermill"]["status"] == states[progress.state]
        assert progress.state in ({"error"} if number == blamed else {"ok", "not_run"})


@pytest.mark.parametrize("name", SUCCESSES)
def test_what_only_looks_like_trouble_does_not(name: str, pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    result = execute(notebook(*SUCCESSES[name]), tmp_path / "out.ipynb", {}, pool=pool)
    assert {progress.state for progress in result.cells} == {"ok"}


@pytest.mark.parametrize("name", ["thread", "task kept", "command with a result", "exit()", "script"])
def test_an_ordinary_process_is_watched_as_well(name: str, plain: KernelPool, notebook: Write, tmp_path: Path) -> None:
    cells, blamed, words = FAILURES[name]
    error, _ = _fail(notebook, tmp_path, plain, cells)
    assert error.message.startswith(f"written.ipynb, cell [{blamed}]: {words}")


def test_cells_that_have_not_run_when_a_thread_fails_stay_so(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    cells, _, _ = FAILURES["thread of an earlier cell"]
    _, seen = _fail(notebook, tmp_path, pool, cells)
    ended = [(p.number, p.state) for p in seen if p.state != "running"]
    assert ended == [(1, "ok"), (2, "ok"), (3, "ok"), (1, "error"), (4, "not_run")]


def test_the_trace_of_a_thread_stands_in_the_cell_that_started_it(
    pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    _fail(notebook, tmp_path, pool, FAILURES["thread of an earlier cell"][0])
    cell = json.loads((tmp_path / "out.ipynb").read_text())["cells"][3]  # after the error on top, the title, its marker
    assert "raise ValueError('no feed')" in "\n".join(cell["outputs"][-1]["traceback"])


def test_a_command_sees_the_variables_of_its_function_and_returns_its_lines(
    pool: KernelPool, notebook: Write, tmp_path: Path, outputs: Callable[[Path], str]
) -> None:
    source = "def ask(word):\n    !echo said {word}\n    lines = !echo $word; echo err >&2\n    return lines"
    execute(notebook(source, "print(ask('hi'), _exit_code)"), tmp_path / "out.ipynb", {}, pool=pool)
    assert outputs(tmp_path / "out.ipynb") == "said hi\n['hi', 'err'] 0\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os; os._exit(0)", "cell [1]: the kernel exited with code 0"),
        (
            "import asyncio, sys\nasync def leave():\n    sys.exit(0)\n\nt = asyncio.create_task(leave())\n"
            "await asyncio.sleep(60)",
            "cell [1]: the kernel exited with code 0",
        ),
        (
            "import atexit, os, signal\natexit.register(os.kill, os.getpid(), signal.SIGSEGV);",
            "after its last cell: the kernel was killed by SIGSEGV",
        ),
    ],
    ids=["os._exit", "sys.exit in a task", "exit function"],
)
def test_a_kernel_that_is_gone_has_not_succeeded(
    source: str, words: str, pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    with pytest.raises(KernelDied, match=words.replace("[", r"\[").replace("]", r"\]")):
        execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool)


def test_a_notebook_without_its_closing_record_has_not_succeeded(
    pool: KernelPool, notebook: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_CLOSING_S", 0.3)
    source = "import asyncio, time\nasyncio.get_event_loop().call_soon(time.sleep, 1000);"
    with pytest.raises(NotebookFailed, match=r"no closing record of the kernel within 0\.3 s"):
        execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, grace_s=0.2)


def test_exit_functions_that_hang_are_a_failure(
    pool: KernelPool, notebook: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_EXIT_S", 0.3)
    source = "import atexit, time\natexit.register(time.sleep, 1000);"
    with pytest.raises(NotebookFailed, match="after its last cell: an exit function did not end"):
        execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool)


@pytest.mark.parametrize("name", ["sys.exit(0)", "thread", "pool's exception unseen"])
def test_papermills_command_fails_as_well(name: str, notebook: Write, tmp_path: Path) -> None:
    warm_up()
    import papermill

    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(
            str(notebook(*FAILURES[name][0])),
            str(tmp_path / "out.ipynb"),
            engine_name="workbench",
            kernel_name="python3",
            language="python",
            progress_bar=False,
        )
    assert "pending" in (tmp_path / "out.ipynb").read_text() or name == "pool's exception unseen"


def test_no_secret_of_environment_or_parameters_is_left_in_the_folder(
    notebook: Write, tmp_path: Path, outputs: Callable[[Path], str]
) -> None:
    canaries = ["canary-env-5f1c", 'canary-"pär\\ameter-77']
    env = {**os.environ, "APCA_API_SECRET_KEY": canaries[0], "DB_URL": f"postgres://ada:{canaries[0]}@host/db"}
    show = "import os, sys\nprint(dict(os.environ))\nprint(db_password, repr(db_password))\ndb_password"
    fail = "sys.__stderr__.write(db_password); sys.__stderr__.flush()\nprint(db_password * 2)\n"
    source = notebook(
        ("db_password = ''  # of the archive", ["parameters"]), show, f"{fail}raise ValueError(db_password)"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    with KernelPool(preload=(), calendars=(), env=env) as pool, pytest.raises(NotebookFailed) as caught:
        execute(source, folder / "out.ipynb", {"db_password": canaries[1]}, pool=pool)
    kept = {file.name: file.read_text(encoding="utf-8") for file in folder.rglob("*") if file.is_file()}
    for canary in canaries:
        forms = {canary, canary.encode("unicode_escape").decode(), json.dumps(canary)[1:-1], repr(canary)[1:-1]}
        for text in (*kept.values(), str(caught.value)):
            assert not [form for form in forms if form in text]
    assert "*****" in outputs(folder / "out.ipynb")
    assert "canary" not in "".join(kept.values())


def test_papermills_command_keeps_no_secret_parameter_either(notebook: Write, tmp_path: Path) -> None:
    warm_up()
    import papermill

    source = notebook(("api_key = ''", ["parameters"]), "print(api_key)")
    papermill.execute_notebook(
        str(source),
        str(tmp_path / "out.ipynb"),
        {"api_key": "canary-31d4"},
        engine_name="workbench",
        kernel_name="python3",
        language="python",
        progress_bar=False,
    )
    text = (tmp_path / "out.ipynb").read_text()
    assert "canary" not in text
    assert "*****" in text
