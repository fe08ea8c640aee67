"""Real kernels run real notebooks; what is checked is what is left afterwards: output, processes, words."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.clock import SystemClock
from workbench.errors import ConfigError, JobError, KernelDied, NotebookFailed, RunCancelled, StepTimeout
from workbench.jobs.engine import execute, warm_up
from workbench.jobs.kernels import KernelPool


class _ClockAfter(SystemClock):
    """A clock that jumps an hour ahead as soon as a file is there."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def monotonic(self) -> float:
        return super().monotonic() + (3600 if self._marker.exists() else 0)


def _statuses(output: Path) -> list[str]:
    cells = json.loads(output.read_text())["cells"]
    return [cell["metadata"]["papermill"]["status"] for cell in cells if cell["cell_type"] == "code"]


def _run_until(flag: threading.Event, condition, wait_for) -> threading.Thread:
    """Set ``flag`` from another thread once ``condition`` holds."""

    def watch() -> None:
        wait_for(condition)
        flag.set()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_notebook_gets_its_parameters_and_environment(pool, fixtures, tmp_path, outputs):
    output = tmp_path / "out.ipynb"
    result = execute(
        fixtures / "ok.ipynb",
        output,
        {"symbol": "000001", "top": 3, "who": 'O"Neill\\ é'},
        pool=pool,
        env={"WORKBENCH_RUN": "run-7"},
    )
    assert result.state == "succeeded"
    assert outputs(output) == "000001 3 O\"Neill\\ é\n\n'run-7'"
    assert _statuses(output) == ["completed"] * 4


def test_cells_are_reported_as_they_run(pool, fixtures, tmp_path):
    seen = []
    result = execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool, on_cell=seen.append)
    assert [(p.number, p.total, p.state) for p in seen] == [
        (1, 2, "running"),
        (1, 2, "ok"),
        (2, 2, "running"),
        (2, 2, "ok"),
    ]
    assert result.cells == (seen[1], seen[3])


def test_an_error_names_notebook_cell_and_exception_in_one_plain_line(pool, fixtures, tmp_path, outputs):
    output = tmp_path / "out.ipynb"
    seen = []
    with pytest.raises(NotebookFailed) as caught:
        execute(fixtures / "error.ipynb", output, {}, pool=pool, on_cell=seen.append)
    assert caught.value.message == "error.ipynb, cell [2]: ValueError: no bars of XYZ in the lake"
    assert str(output) in str(caught.value)
    assert (seen[-1].number, seen[-1].state) == (3, "not_run")
    assert _statuses(output) == ["completed", "failed", "pending"]
    text = outputs(output)
    assert "before" in text
    assert "ValueError" in text
    first = json.loads(output.read_text())["cells"][0]
    assert "NotebookFailed: error.ipynb, cell [2]" in "".join(first["source"])
    assert first["metadata"]["tags"] == ["papermill-error-cell-tag"]


def test_an_error_that_its_tag_allows_is_no_error(pool, fixtures, tmp_path, outputs):
    result = execute(fixtures / "allowed_error.ipynb", tmp_path / "out.ipynb", {}, pool=pool)
    assert result.state == "succeeded"
    assert "after" in outputs(tmp_path / "out.ipynb")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("kill", "the kernel was killed by SIGKILL (out of memory?)"),
        ("exit", "the kernel exited with code 3"),
        ("segfault", "the kernel was killed by SIGSEGV"),
    ],
)
def test_a_dead_kernel_is_noticed_and_its_last_words_kept(pool, fixtures, tmp_path, outputs, how, words):
    output = tmp_path / "out.ipynb"
    with pytest.raises(KernelDied) as caught:
        execute(fixtures / "dies.ipynb", output, {"how": how}, pool=pool)
    assert caught.value.message == f"dies.ipynb, cell [4]: {words}"
    assert _statuses(output) == ["completed"] * 3 + ["failed", "pending"]
    assert "last words" in outputs(output)
    assert words in outputs(output)
    # Python's fault handler says where a crash in C happened
    log = output.with_suffix(".kernel.log")
    assert ("Segmentation fault" in log.read_text()) if how == "segfault" else not log.exists()


def test_a_timeout_lets_finally_run_and_saves_the_output(pool, fixtures, tmp_path, outputs):
    output, marker = tmp_path / "out.ipynb", tmp_path / "marker"
    with pytest.raises(StepTimeout) as caught:
        execute(
            fixtures / "slow.ipynb",
            output,
            {"marker": str(marker)},
            pool=pool,
            timeout_s=300,
            clock=_ClockAfter(marker),
        )
    assert caught.value.message == "slow.ipynb, cell [4]: ran longer than 300 s"
    assert caught.value.exit_code == 124
    assert marker.read_text() == "cleaned up"
    assert _statuses(output) == ["completed"] * 3 + ["failed", "pending"]
    assert "working" in outputs(output)
    assert "KeyboardInterrupt" in outputs(output)
    assert "StepTimeout" in outputs(output)


def test_a_cell_that_ignores_its_interruption_is_killed(pool, fixtures, tmp_path):
    marker = tmp_path / "marker"
    with pytest.raises(StepTimeout):
        execute(
            fixtures / "stubborn.ipynb",
            tmp_path / "out.ipynb",
            {"marker": str(marker)},
            pool=pool,
            timeout_s=300,
            grace_s=0.2,
            clock=_ClockAfter(marker),
        )
    assert "StepTimeout" in (tmp_path / "out.ipynb").read_text()


def test_cancelling_interrupts_the_cell_and_lets_it_clean_up(pool, fixtures, tmp_path, wait_for):
    output, marker, cancel = tmp_path / "out.ipynb", tmp_path / "marker", threading.Event()
    thread = _run_until(cancel, lambda: marker.exists() and marker.read_text() == "begun", wait_for)
    with pytest.raises(RunCancelled) as caught:
        execute(fixtures / "slow.ipynb", output, {"marker": str(marker)}, pool=pool, cancel=cancel)
    thread.join()
    assert caught.value.exit_code == 143
    assert marker.read_text() == "cleaned up"
    assert _statuses(output) == ["completed"] * 3 + ["failed", "pending"]


def test_a_run_cancelled_before_it_began_runs_nothing(pool, fixtures, tmp_path):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(RunCancelled):
        execute(fixtures / "ok.ipynb", tmp_path / "out.ipynb", {}, pool=pool, cancel=cancel)
    assert _statuses(tmp_path / "out.ipynb") == ["pending"] * 3


def test_cancelling_as_a_cell_begins_is_not_lost(pool, fixtures, tmp_path):
    # The flag is up before the kernel has even heard of the cell; a lost interrupt would wait out the grace.
    cancel = threading.Event()

    def cancel_at_the_slow_cell(progress) -> None:
        if progress.number == 4:
            cancel.set()

    began = SystemClock().monotonic()
    with pytest.raises(RunCancelled):
        execute(
            fixtures / "slow.ipynb",
            tmp_path / "out.ipynb",
            {"marker": str(tmp_path / "marker")},
            pool=pool,
            cancel=cancel,
            grace_s=120,
            on_cell=cancel_at_the_slow_cell,
        )
    assert SystemClock().monotonic() - began < 60


# A signal in IPython's own code just before a cell of the notebook: in an event's callback, which swallows it, and in
# the kernel's method, which dies of it and never answers.
_EARLY = {
    "swallowed": "get_ipython().events.register('pre_run_cell', lambda info: signal.raise_signal(signal.SIGINT))",
    "unanswered": """
kernel = get_ipython().kernel
answer = kernel.do_execute
def do_execute(*arguments, **options):
    signal.raise_signal(signal.SIGINT)
    return answer(*arguments, **options)
kernel.do_execute = do_execute
""",
}


@pytest.mark.parametrize("where", _EARLY)
@pytest.mark.parametrize(
    "cell", ["Path(mark).touch()", "await asyncio.sleep(600); Path(mark).touch()"], ids=["plain", "async"]
)
def test_an_interruption_before_the_first_line_of_a_cell_stops_the_cell(pool, notebook, tmp_path, where, cell):
    mark = tmp_path / "mark"
    first = f"import asyncio, signal\nfrom pathlib import Path\nmark = {str(mark)!r}\n{_EARLY[where]}"
    with pytest.raises(NotebookFailed, match=r"cell \[2\]: (KeyboardInterrupt|CancelledError)"):
        execute(notebook(first, cell), tmp_path / "out.ipynb", {}, pool=pool)
    assert not mark.exists()
    assert _statuses(tmp_path / "out.ipynb") == ["completed", "failed"]


def test_a_kernel_that_cannot_answer_fails_the_cell(pool, notebook, tmp_path):
    break_it = (
        "kernel = get_ipython().kernel\ndef finish(*_): raise RuntimeError('broken')\nkernel.finish_metadata = finish"
    )
    with pytest.raises(NotebookFailed, match=r"cell \[1\]: RuntimeError: broken"):
        execute(notebook(break_it), tmp_path / "out.ipynb", {}, pool=pool)
    assert "RuntimeError: broken" in (tmp_path / "out.kernel.log").read_text()


def test_an_interruption_after_the_last_line_of_a_cell_is_for_no_other(pool, notebook, tmp_path):
    late = "get_ipython().events.register('post_run_cell', lambda result: signal.raise_signal(signal.SIGINT))"
    execute(notebook(f"import signal\n{late}", "1 + 1"), tmp_path / "out.ipynb", {}, pool=pool)
    assert _statuses(tmp_path / "out.ipynb") == ["completed", "completed"]


@pytest.mark.skipif(sys.platform != "linux", reason="the guard and its subreaper are Linux's")
def test_nothing_a_notebook_started_outlives_it(pool, fixtures, tmp_path, is_alive):
    pids = tmp_path / "pids"
    execute(fixtures / "grandchild.ipynb", tmp_path / "out.ipynb", {"pids": str(pids)}, pool=pool)
    # kernel, a child in its group, and a daemon in a session of its own
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) == 3
    assert not [pid for pid in started if is_alive(pid)]


# A file that nothing of the notebook's own closes, and memory that takes the system a while to take back.
HELD = """
import builtins, fcntl
builtins.held = open(FILE, "w")
fcntl.flock(builtins.held, fcntl.LOCK_EX)
builtins.much = bytearray(300_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_who_goes_on_when_a_notebook_is_over_finds_it_saved_and_its_locks_released(pool, notebook, tmp_path):
    told = []

    def over():
        told.append(_statuses(tmp_path / "out.ipynb"))
        with (tmp_path / "locked").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    held = HELD.replace("FILE", repr(str(tmp_path / "locked")))
    execute(notebook(held), tmp_path / "out.ipynb", {}, pool=pool, when_over=over)
    assert told == [["completed"]]


@pytest.mark.parametrize(
    "source",
    [
        "1 / 0",
        "import atexit, os\natexit.register(os._exit, 3)",
        "import threading, time\nthreading.Thread(target=int, args='x').start()",
    ],
)
def test_nobody_is_told_that_a_notebook_is_over_that_did_not_succeed(pool, notebook, tmp_path, source):
    told = []
    with pytest.raises(JobError):
        execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, when_over=lambda: told.append(1))
    assert told == []


def test_the_output_is_written_at_the_start_and_at_the_end_only(pool, fixtures, tmp_path):
    output = tmp_path / "out.ipynb"
    versions = []

    def look(progress) -> None:
        json.loads(output.read_text())
        versions.append(output.stat().st_ino)  # a new file each time: it is replaced, never rewritten

    execute(fixtures / "ok.ipynb", output, {}, pool=pool, on_cell=look)
    assert len(set(versions)) == 1
    assert output.stat().st_mtime_ns
    assert _statuses(output) == ["completed"] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["out.ipynb"]


def test_a_long_cell_is_saved_while_it_runs(fixtures, tmp_path, outputs):
    import papermill

    warm_up()
    output = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(fixtures / "autosave.ipynb"),
        str(output),
        {"output": str(output)},
        engine_name="workbench",
        kernel_name="python3",
        language="python",
        autosave_cell_every=0.05,
        progress_bar=False,
    )
    assert "42000126" in outputs(output)


@pytest.mark.parametrize(
    "tags",
    [
        ["timeout"],
        ["timeout:60"],
        ["timeout=1m"],
        ["timeout=60s"],
        ["timeout= 60"],
        ["timeout=1e3"],
        ["timeout=0"],
        ["timeout=-1"],
        ["timeout=nan"],
        ["Timeout=60"],
        ["timeout=1", "timeout=2"],
    ],
)
def test_a_time_out_that_cannot_be_read_is_refused_before_a_kernel_starts(notebook, tmp_path, tags):
    never = KernelPool(preload=("no_such_module",), calendars=())
    with pytest.raises(ConfigError) as caught:
        execute(notebook("1", ("2", tags)), tmp_path / "out.ipynb", {}, pool=never)
    assert caught.value.message == f"written.ipynb, cell [2]: {' and '.join(map(repr, tags))} is not a time-out"
    assert caught.value.hint == "write one tag timeout=SECONDS, for example timeout=60"
    assert caught.value.exit_code == 64
    assert not (tmp_path / "out.ipynb").exists()


def test_a_cell_with_a_time_out_of_its_own_may_end_in_time(pool, notebook, tmp_path):
    limited = notebook(("1", ["timeout=60"]), ("2", ["timeout=60.5"]))
    assert execute(limited, tmp_path / "out.ipynb", {}, pool=pool, stall_s=60).state == "succeeded"
    assert execute(notebook(("2", ["timeouts", "slow"])), tmp_path / "out.ipynb", {}, pool=pool).state == "succeeded"


def test_papermills_time_out_is_for_each_cell(notebook, tmp_path):
    import papermill

    warm_up()
    options = {"engine_name": "workbench", "kernel_name": "python3", "language": "python", "progress_bar": False}
    source = str(notebook("import time; time.sleep(0.8)", "time.sleep(0.8)", "time.sleep(0.8)"))  # 2.4 s in all
    papermill.execute_notebook(source, str(tmp_path / "out.ipynb"), execution_timeout=2, **options)
    source = str(notebook("import time", "time.sleep(1000)"))
    with pytest.raises(StepTimeout, match=r"cell \[2\]: the cell ran longer than its 0.5 s"):
        papermill.execute_notebook(source, str(tmp_path / "out.ipynb"), execution_timeout=0.5, **options)


def test_a_question_fails_instead_of_waiting_for_an_answer(pool, fixtures, tmp_path):
    with pytest.raises(NotebookFailed, match="StdinNotImplementedError"):
        execute(fixtures / "asks.ipynb", tmp_path / "out.ipynb", {}, pool=pool)


def test_braces_in_a_path_are_just_braces(pool, fixtures, tmp_path):
    folder = tmp_path / "{odd}"
    folder.mkdir()
    source = folder / "in.ipynb"
    source.write_bytes((fixtures / "no_tag.ipynb").read_bytes())
    execute(source, folder / "out.ipynb", {}, pool=pool)
    about = json.loads((folder / "out.ipynb").read_text())["metadata"]["papermill"]
    assert about["output_path"] == str(folder / "out.ipynb")


def test_it_runs_inside_a_running_event_loop(pool, fixtures, tmp_path):
    async def inside() -> str:
        return execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool).state

    assert asyncio.run(inside()) == "succeeded"


def test_an_ordinary_process_serves_where_nothing_can_be_forked(fixtures, tmp_path, outputs):
    with KernelPool(preload=(), calendars=(), forks=False) as plain:
        execute(fixtures / "ok.ipynb", tmp_path / "ok.ipynb", {"top": 5}, pool=plain, env={"WORKBENCH_RUN": "r"})
        assert outputs(tmp_path / "ok.ipynb") == "AAPL 5 nobody\n\n'r'"
        with pytest.raises(KernelDied, match="exited with code 3"):
            execute(fixtures / "dies.ipynb", tmp_path / "dies.ipynb", {"how": "exit"}, pool=plain)


def test_the_engine_is_papermills_to_use(fixtures, tmp_path, outputs):
    import papermill
    from nbclient.exceptions import DeadKernelError

    warm_up()
    options = {"engine_name": "workbench", "kernel_name": "python3", "language": "python", "progress_bar": False}
    good, bad, dead = (tmp_path / f"{name}.ipynb" for name in ("good", "bad", "dead"))
    papermill.execute_notebook(str(fixtures / "ok.ipynb"), str(good), {"top": 4}, **options)
    assert "AAPL 4 nobody" in outputs(good)
    with pytest.raises(papermill.PapermillExecutionError, match="no bars of XYZ"):
        papermill.execute_notebook(str(fixtures / "error.ipynb"), str(bad), {}, **options)
    assert bad.read_text().count("An Exception was encountered") == 1
    # papermill's command turns this one into its exit code 138
    with pytest.raises(DeadKernelError, match=r"exited with code 3"):
        papermill.execute_notebook(str(fixtures / "dies.ipynb"), str(dead), {"how": "exit"}, **options)


def test_sigterm_of_the_papermill_command_ends_kernel_and_command_cleanly(fixtures, tmp_path, wait_for):
    output, marker = tmp_path / "out.ipynb", tmp_path / "marker"
    command = [sys.executable, "-m", "papermill", str(fixtures / "slow.ipynb"), str(output)]
    command += ["--engine", "workbench", "-p", "marker", str(marker), "--kernel", "python3", "--no-progress-bar"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_with_source())
    wait_for(lambda: marker.exists() and marker.read_text() == "begun")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    assert marker.read_text() == "cleaned up"
    assert _statuses(output) == ["completed"] * 3 + ["failed", "pending"]


def test_a_module_that_cannot_be_preloaded_is_named(fixtures, tmp_path):
    with (
        KernelPool(preload=("no_such_module",), calendars=()) as broken,
        pytest.raises(JobError, match="ModuleNotFoundError: No module named 'no_such_module'"),
    ):
        execute(fixtures / "ok.ipynb", tmp_path / "out.ipynb", {}, pool=broken)


def _with_source() -> dict[str, str]:
    source = Path(__file__).parent.parent.parent / "src"
    return {**os.environ, "PYTHONPATH": str(source)}
