"""Pages are written beside the run, and whoever has to know can wait for them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import nbformat
import pytest

from workbench.jobs.pages import HtmlWriter


def _notebook(file: Path) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {file.stem}")]), file)
    return file


def test_flush_waits_for_the_pages_so_far_and_the_writer_goes_on(tmp_path: Path) -> None:
    with HtmlWriter() as writer:
        writer.flush()  # nothing was handed over: nothing to wait for
        for round in (1, 2):
            notebooks = [_notebook(tmp_path / f"{round}{number}.ipynb") for number in range(3)]
            for notebook in notebooks:
                writer.submit(notebook)
            writer.flush()
            assert all(notebook.with_suffix(".html").exists() for notebook in notebooks)
        assert writer.failures == []


def test_a_page_that_fails_is_known_after_flush(tmp_path: Path) -> None:
    bad = tmp_path / "bad.ipynb"
    bad.write_text("nope")
    with HtmlWriter() as writer:
        writer.submit(bad)
        writer.submit(_notebook(tmp_path / "good.ipynb"))
        writer.flush()
        assert len(writer.failures) == 1
        assert writer.failures[0].startswith("bad.ipynb: JobError: no page of")
        assert (tmp_path / "good.html").exists()


def test_a_folder_is_sealed_after_its_pages(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with HtmlWriter() as writer:
        writer.submit(_notebook(folder / "a.ipynb"))
        (folder / "run.json").write_text('{"attempt": 1}')
        writer.seal(folder, 1)
        writer.flush()
        assert (folder / "a.html").exists()
        assert folder.stat().st_mode & 0o777 == 0o555
    folder.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_writer_that_has_died_keeps_nobody_waiting(tmp_path: Path) -> None:
    with HtmlWriter() as writer:
        writer.start()
        assert writer._process is not None
        os.kill(writer._process.pid, signal.SIGKILL)
        writer._process.wait()
        writer.submit(_notebook(tmp_path / "a.ipynb"))
        writer.flush()
        assert "pages: their writer has died" in writer.failures
