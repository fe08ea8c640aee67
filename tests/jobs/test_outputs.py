"""What a notebook prints and shows is kept up to a limit; the whole of it never fills memory, notebook or disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from workbench.errors import ConfigError, JobError, NotebookFailed
from workbench.jobs.engine import CellProgress, execute, warm_up
from workbench.jobs.engine.outputs import OutputLimits, Outputs, Screen, head, notice
from workbench.jobs.kernels import KernelPool

Write = Callable[..., Path]
SMALL = OutputLimits(cell_bytes=1000, run_bytes=2500)


@pytest.fixture(scope="module")
def pool() -> Iterator[KernelPool]:
    """Kernels that do not know of pytest: ipykernel captures no child's output where it is."""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    with KernelPool(preload=(), calendars=(), env=env) as kernels:
        yield kernels


def _cells(output: Path) -> list[list[dict[str, Any]]]:
    """The outputs of each code cell."""
    cells = json.loads(output.read_text(encoding="utf-8"))["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def _text(output: dict[str, Any]) -> str:
    return "".join(output["text"])


# ---- text as a terminal shows it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["a", "b\n", "c"], "ab\nc"),
        (["0%", "\r50%", "\r100%", "\ndone"], "100%\ndone"),
        (["kept\n0%\r", "50%\r", "\n"], "kept\n50%\r\n"),  # nothing follows the last carriage return on its line
        (["line\r\n", "next\r\n"], "line\r\nnext\r\n"),
        (["abc", "\b\b", "XY"], "aXY"),
        (["\n\bx"], "\nx"),  # a backspace does not go up a line
        (["a\r", "\rb"], "b"),
        (["naïve\r", "é"], "é"),
    ],
)
def test_what_is_overwritten_is_gone_however_it_arrives(pieces: list[str], shown: str) -> None:
    for parts in (pieces, ["".join(pieces)], list("".join(pieces))):
        screen = Screen()
        for part in parts:
            screen.add(part)
        assert screen.text == shown
        assert screen.size == len(shown.encode())


def test_a_head_never_ends_within_a_character() -> None:
    assert [head("aé€", room) for room in range(7)] == ["", "a", "a", "aé", "aé", "aé", "aé€"]


@pytest.mark.parametrize("name", ["cell_bytes", "run_bytes", "log_bytes"])
def test_a_limit_that_keeps_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, not 0"):
        OutputLimits(**{name: 0})


def test_text_beside_other_outputs_stays_in_its_place_stdout_first() -> None:
    outs: list[Any] = []
    outputs = Outputs(OutputLimits(), None)
    outputs.begin()

    def stream(name: str, text: str) -> None:
        if not outputs.printed(outs, name, text):
            outs.append(nbformat.v4.new_output("stream", name=name, text=text))
            outputs.first(outs)

    for name, text in (("stderr", "e1"), ("stdout", "o1"), ("stderr", "e2"), ("stdout", "o2")):
        stream(name, text)
    outs.append(nbformat.v4.new_output("display_data", data={"text/plain": "plot"}))
    stream("stdout", "o3")
    outputs.end()
    assert [out.get("text", "plot") for out in outs] == ["o1o2", "e1e2", "plot", "o3"]


def test_a_bundle_keeps_what_fits_and_names_what_does_not() -> None:
    outputs = Outputs(OutputLimits(cell_bytes=1000), None)
    outputs.begin()
    kept = outputs.rich({"text/plain": "a frame", "text/html": "x" * 900, "image/png": "y" * 2000}, replaces=False)
    left_out = "image/png of 2,000 bytes, text/html of 900 bytes"  # 100 bytes are counted for the output itself
    assert kept == {"text/plain": f"a frame\n[workbench] left out, over the limit of output: {left_out}"}
    assert outputs.rich({"text/html": "x" * 790}, replaces=False) == {"text/html": "x" * 790}


# ---- real cells --------------------------------------------------------------------------------------


def test_streams_are_one_output_each(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    source = (
        "import sys\nfor n in range(500):\n    print(n, flush=n % 50 == 0)\n"
        "    print(-n, file=sys.stderr, flush=n % 70 == 0)"
    )
    execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool)
    (outs,) = _cells(tmp_path / "out.ipynb")
    assert [out["name"] for out in outs] == ["stdout", "stderr"]
    assert _text(outs[0]) == "".join(f"{n}\n" for n in range(500))
    assert _text(outs[1]) == "".join(f"{-n}\n" for n in range(500))


def test_a_progress_bar_is_one_line_and_costs_one_line(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    source = "for n in range(2000):\n    print(f'\\r{n:06}', end='', flush=n % 100 == 0)"  # 14 kB past a limit of 1 kB
    execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    (outs,) = _cells(tmp_path / "out.ipynb")
    assert [_text(out).lstrip("\r") for out in outs] == ["001999"]
    assert [file.name for file in tmp_path.glob("out.*")] == ["out.ipynb"]


def test_what_exceeds_the_limit_of_a_cell_is_cut_with_one_notice_and_logged_in_full(
    pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    long = "import sys\nfor n in range(300):\n    print(f'{n:09}')\n    sys.stderr.write('!')"
    execute(notebook("print('short')", long, "print('after')"), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    short, cut, after = _cells(tmp_path / "out.ipynb")
    assert [_text(out) for out in (*short, *after)] == ["short\n", "after\n"]
    text = "".join(_text(out) for out in cut)
    said = "[workbench] output cut here, after 1,000 bytes; all of it is in out.output.log\n"
    assert text.count(said) == 1
    kept = text.replace(said, "")
    assert 1000 <= len(kept) <= 1002
    log = (tmp_path / "out.output.log").read_text()
    assert log == "==== cell [2] ====\n" + "".join(f"{n:09}\n!" for n in range(300))


def test_the_limit_of_the_run_holds_for_all_cells_together(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    cells = ["print('x' * 899)"] * 5  # 900 bytes each, of 2,500 in all
    execute(notebook(*cells), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    texts = ["".join(_text(out) for out in outs) for outs in _cells(tmp_path / "out.ipynb")]
    assert [text.count("x") for text in texts] == [899, 899, 700, 0, 0]
    assert [text.count("[workbench]") for text in texts] == [0, 0, 1, 1, 1]
    log = (tmp_path / "out.output.log").read_text()
    assert re.findall(r"cell \[(\d)\]", log) == ["3", "4", "5"]
    assert log.count("x") == 3 * 899


def test_a_cell_that_prints_300_megabytes_costs_neither_memory_nor_a_large_notebook(
    pool: KernelPool, notebook: Write, tmp_path: Path, outputs: Callable[[Path], str]
) -> None:
    source = (
        "import resource\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\ntext = 'x' * 99_999\n"
        "for n in range(3000):\n    print(text)"
    )
    grown = "print('grown by', (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, 'MB')"
    execute(notebook(source, grown), tmp_path / "out.ipynb", {}, pool=pool)
    assert (tmp_path / "out.output.log").stat().st_size == 300_000_000 + len("==== cell [1] ====\n")
    assert (tmp_path / "out.ipynb").stat().st_size < 1_100_000
    found = re.search(r"grown by (\d+) MB", outputs(tmp_path / "out.ipynb"))
    assert found is not None
    assert int(found[1]) < 60
    (tmp_path / "out.output.log").unlink()


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\nsubprocess.run('head -c 5000 /dev/zero | tr \"\\\\0\" x', shell=True);",
        "!head -c 5000 /dev/zero | tr '\\0' x",
        "import multiprocessing\ndef work(_):\n    print('x' * 2500, end='', flush=True)\n"
        "with multiprocessing.get_context('fork').Pool(1) as workers:\n    workers.map(work, [1, 2])",
    ],
    ids=["subprocess", "command", "forked workers"],
)
def test_what_children_print_is_limited_too(source: str, pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    (outs,) = _cells(tmp_path / "out.ipynb")
    text = "".join(_text(out) for out in outs)
    assert text.count("[workbench] output cut here") == 1
    assert 900 < text.count("x") <= 1500 + 500
    kept_or_logged = (tmp_path / "out.output.log").read_text().count("x")
    assert kept_or_logged >= 5000 - 1500


def test_images_and_pages_over_the_limit_are_replaced_by_a_notice(
    pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    source = (
        "from IPython.display import HTML, display\ndisplay(HTML('<b>small</b>'))\n"
        "display({'image/png': 'A' * 5000, 'text/plain': '<Figure>'}, raw=True)\nHTML('x' * 3000)"
    )
    execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    (outs,) = _cells(tmp_path / "out.ipynb")
    assert outs[0]["data"]["text/html"] == ["<b>small</b>"]
    assert outs[1]["data"] == {
        "text/plain": ["<Figure>\n", "[workbench] left out, over the limit of output: image/png of 5,000 bytes"]
    }
    assert list(outs[2]["data"]) == ["text/plain"]
    assert "text/html of 3,000 bytes" in "".join(outs[2]["data"]["text/plain"])


def test_a_live_display_may_be_updated_for_ever(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    source = (
        "from IPython.display import display\nh = display('0', display_id=True)\nfor n in range(300):\n    h.update(n)"
    )
    execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    (outs,) = _cells(tmp_path / "out.ipynb")
    assert [out["data"]["text/plain"] for out in outs] == [["299"]]


def test_cleared_output_makes_room(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    source = (
        "from IPython.display import HTML, clear_output, display\nfor n in range(20):\n"
        "    clear_output(wait=True)\n    display(HTML('x' * 500 + str(n)))"
    )
    execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL)
    (outs,) = _cells(tmp_path / "out.ipynb")
    assert [out["data"]["text/html"] for out in outs] == [["x" * 500 + "19"]]


def test_an_exception_that_carries_its_data_is_shortened(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    with pytest.raises(NotebookFailed) as caught:
        execute(notebook("raise ValueError('x' * 3_000_000)"), tmp_path / "out.ipynb", {}, pool=pool)
    assert len(caught.value.message) < 400
    assert (tmp_path / "out.ipynb").stat().st_size < 500_000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize(
    "source",
    [
        "for n in range(1000):\n    print('x' * 1000)",
        "import subprocess\nsubprocess.run('yes | head -c 100000; sleep 1000', shell=True)",
    ],
    ids=["cell", "child of the cell"],
)
def test_a_full_disk_under_the_log_ends_the_run_and_says_so(
    source: str, pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    (tmp_path / "out.output.log").symlink_to("/dev/full")
    seen: list[CellProgress] = []
    with pytest.raises(NotebookFailed, match=r"cell \[1\]: .* cannot be written: No space left on device"):
        execute(notebook(source, "1"), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL, on_cell=seen.append)
    assert [(p.number, p.state) for p in seen if p.state != "running"] == [(1, "error"), (2, "not_run")]


def test_a_run_that_would_fill_the_disk_is_stopped(pool: KernelPool, notebook: Write, tmp_path: Path) -> None:
    limits = OutputLimits(cell_bytes=100, log_bytes=50_000)
    with pytest.raises(NotebookFailed, match=r"out\.output\.log cannot be written: it has reached its limit of bytes"):
        execute(notebook("while True:\n    print('x' * 1000)"), tmp_path / "out.ipynb", {}, pool=pool, limits=limits)
    assert (tmp_path / "out.output.log").stat().st_size <= 50_000


def test_an_output_that_cannot_be_written_is_an_error_of_the_run(
    pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    source = f"import shutil\nshutil.rmtree({str(folder)!r})\nopen({str(folder)!r}, 'w').close()"
    with pytest.raises(JobError, match=r"out\.ipynb cannot be written"):
        execute(notebook(source), folder / "out.ipynb", {}, pool=pool, cwd=tmp_path)


def test_without_a_file_for_the_output_there_is_no_log(notebook: Write, tmp_path: Path) -> None:
    warm_up()
    import papermill

    nb = papermill.execute_notebook(
        str(notebook("print('x' * 3_000_000)")),
        None,
        engine_name="workbench",
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=str(tmp_path),
    )
    text = "".join(output.text for output in nb.cells[-1].outputs)
    assert text.endswith(notice(1_000_000, None))
    assert not list(tmp_path.glob("*.log"))


def test_a_cell_that_prints_into_the_log_only_is_not_taken_for_stalled(
    pool: KernelPool, notebook: Write, tmp_path: Path
) -> None:
    source = (
        "import time\nprint('x' * 2000)\nuntil = time.monotonic() + 3.3\nwhile time.monotonic() < until:\n"
        "    print('x'); time.sleep(0.1)"
    )
    result = execute(notebook(source), tmp_path / "out.ipynb", {}, pool=pool, limits=SMALL, stall_s=3.0)
    assert result.state == "succeeded"


def test_a_plain_client_gets_everything(pool: KernelPool) -> None:
    warm_up()
    from nbclient import NotebookClient

    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('x' * 2_000_000)")])
    NotebookClient(nb, km=pool.manager()).execute(cleanup_kc=True)
    assert len(nb.cells[0].outputs[0].text) == 2_000_001
