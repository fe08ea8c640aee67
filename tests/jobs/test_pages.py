"""Pages are written beside the run, and whoever has to know can wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from workbench.jobs.kernels import KernelPool, can_fork
from workbench.jobs.pages import HtmlWriter

FORKED = pytest.param("forked", marks=pytest.mark.skipif(not can_fork(), reason="nothing is forked here"))


@pytest.fixture(params=["process", FORKED])
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HtmlWriter]:
    """A writer of both kinds: a process of its own, and a fork of the kernels' helper."""
    if request.param == "process":
        with HtmlWriter() as made:
            yield made
        return
    with KernelPool(preload=(), calendars=(), cache=tmp_path / "cache", pages=True) as pool, HtmlWriter(pool) as made:
        yield made


def _notebook(file: Path) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {file.stem}")]), file)
    return file


def test_flush_waits_for_the_pages_so_far_and_the_writer_goes_on(writer: HtmlWriter, tmp_path: Path) -> None:
    writer.flush()  # nothing was handed over: nothing to wait for
    for round in (1, 2):
        notebooks = [_notebook(tmp_path / f"{round}{number}.ipynb") for number in range(3)]
        for notebook in notebooks:
            writer.submit(notebook)
        writer.flush()
        assert all(notebook.with_suffix(".html").exists() for notebook in notebooks)
    assert writer.failures == []


def test_leaving_the_block_waits_for_the_pages(writer: HtmlWriter, tmp_path: Path) -> None:
    notebook = _notebook(tmp_path / "a.ipynb")
    writer.submit(notebook)
    writer.close()
    assert "<h1" in notebook.with_suffix(".html").read_text()
    assert writer.failures == []


def test_a_page_that_fails_is_known_after_flush(writer: HtmlWriter, tmp_path: Path) -> None:
    bad = tmp_path / "bad.ipynb"
    bad.write_text("nope")
    writer.submit(bad)
    writer.submit(_notebook(tmp_path / "good.ipynb"))
    writer.flush()
    assert len(writer.failures) == 1
    assert writer.failures[0].startswith("bad.ipynb: JobError: no page of")
    assert (tmp_path / "good.html").exists()


def test_a_folder_is_sealed_after_its_pages(writer: HtmlWriter, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    writer.submit(_notebook(folder / "a.ipynb"))
    (folder / "run.json").write_text('{"attempt": 1}')
    writer.seal(folder, 1)
    writer.flush()
    assert (folder / "a.html").exists()
    assert folder.stat().st_mode & 0o777 == 0o555
    folder.chmod(0o755)


def test_a_writer_that_has_died_keeps_nobody_waiting(writer: HtmlWriter, tmp_path: Path) -> None:
    writer.submit(_notebook(tmp_path / "a.ipynb"))
    writer.flush()
    (process,) = _processes()
    process.kill()
    writer.submit(_notebook(tmp_path / "b.ipynb"))
    writer.flush()
    assert "pages: their writer has died" in writer.failures


def test_the_forked_writer_outlives_the_kernels_and_their_helper(tmp_path: Path) -> None:
    if not can_fork():
        pytest.skip("nothing is forked here")
    with KernelPool(preload=(), calendars=(), pages=True) as pool:
        writer = HtmlWriter(pool)
        writer.start()
        writer.flush()
    notebook = _notebook(tmp_path / "late.ipynb")
    writer.submit(notebook)
    writer.close()
    assert notebook.with_suffix(".html").exists()
    assert writer.failures == []


def _processes() -> list[psutil.Process]:
    """Writers of pages that descend from this process."""
    return [child for child in psutil.Process().children(recursive=True) if _writes_pages(child)]


def _writes_pages(process: psutil.Process) -> bool:
    try:
        return process.name() == "wb-pages" or "workbench.jobs.pages" in process.cmdline()
    except psutil.NoSuchProcess:  # it has just ended, or waits for its parent to notice that
        return False
