"""A finished notebook becomes one page that stands on its own."""

from __future__ import annotations

import re
import shutil

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter

from workbench.errors import JobError
from workbench.jobs.engine import execute
from workbench.jobs.notebooks import prepare, to_html


def test_a_page_shows_what_the_notebook_shows_and_loads_nothing(pool, fixtures, tmp_path):
    execute(fixtures / "ok.ipynb", tmp_path / "out.ipynb", {"symbol": "IBM"}, pool=pool)
    page = to_html(tmp_path / "out.ipynb")
    assert page == tmp_path / "out.html"
    text = page.read_text(encoding="utf-8")
    assert "Three cells that end well" in text
    assert "IBM 2 nobody" in text
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", text)


def test_a_page_of_a_failed_notebook_says_so_at_the_top(pool, fixtures, tmp_path):
    with pytest.raises(JobError):
        execute(fixtures / "error.ipynb", tmp_path / "out.ipynb", {}, pool=pool)
    text = to_html(tmp_path / "out.ipynb").read_text(encoding="utf-8")
    assert "NotebookFailed: error.ipynb, cell [2]: ValueError" in text


@pytest.mark.parametrize("text", ["nope", "[]", "{}", '{"cells": 1}', '{"metadata": {}}'])
def test_a_file_that_is_no_notebook_gets_no_page(tmp_path, text):
    (tmp_path / "bad.ipynb").write_text(text)
    with pytest.raises(JobError, match=r"no page of .*bad\.ipynb: it is no notebook \(.+\)"):
        to_html(tmp_path / "bad.ipynb")
    assert not (tmp_path / "bad.html").exists()


def test_preparing_changes_nothing(fixtures, tmp_path):
    shutil.copy(fixtures / "ok.ipynb", tmp_path / "a.ipynb")
    before = to_html(tmp_path / "a.ipynb").read_text(encoding="utf-8")
    prepare()
    assert to_html(tmp_path / "a.ipynb").read_text(encoding="utf-8") == before


def test_a_progress_bar_is_one_line_on_the_page(tmp_path):
    moves = [nbformat.v4.new_output("stream", name="stderr", text=f"\r{share}% done") for share in (0, 50, 100)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("work()", outputs=moves)])
    nbformat.write(notebook, tmp_path / "bar.ipynb")
    text = to_html(tmp_path / "bar.ipynb").read_text(encoding="utf-8")
    assert "100% done" in text
    assert "50% done" not in text


def test_what_is_remembered_of_earlier_pages_makes_no_other_page(tmp_path):
    source = "# %% sum\nx = {'a': 1}\nx"
    cells = [nbformat.v4.new_code_cell(source), nbformat.v4.new_code_cell(source, metadata={"magics_language": "sql"})]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    )
    nbformat.write(notebook, tmp_path / "a.ipynb")
    plain = HTMLExporter(template_name="lab")
    for url in ("require_js_url", "mathjax_url", "jquery_url", "jupyter_widgets_base_url", "mermaid_js_url"):
        setattr(plain, url, "")
    written = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    expected, _ = plain.from_notebook_node(written, resources={"metadata": {"name": "a"}})
    for _ in range(2):
        assert to_html(tmp_path / "a.ipynb").read_text(encoding="utf-8") == expected
