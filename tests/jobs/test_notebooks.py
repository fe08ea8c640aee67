"""A finished notebook becomes one page that stands on its own."""

from __future__ import annotations

import re
import shutil

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter

from workbench.errors import JobError
from workbench.jobs.engine import execute
from workbench.jobs.notebooks import _exporter, prepare, to_html


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


FRAME = pd.DataFrame({"name": ["a<b", "c & d"], "value": [1.5, 2.0]})._repr_html_()
PICTURE = '<div class="jp-OutputArea-output"><img src="data:image/png;base64,AAAA"></div>'


@pytest.mark.parametrize("html", [FRAME, PICTURE])
def test_a_page_is_what_nbconvert_makes_of_the_notebook(tmp_path, html):
    source = "# %% sum\nx = {'a': 1}  # <b> & 'c'\nx"
    outputs = [
        nbformat.v4.new_output("stream", text='<div class="jp-OutputArea-output"> & "quoted"\n'),
        nbformat.v4.new_output("execute_result", data={"text/plain": "<x>", "text/html": html}, execution_count=1),
        nbformat.v4.new_output("error", ename="E", evalue="v", traceback=["\x1b[31mE\x1b[0m: v"]),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# Title\n\nA *word*, $x$ and `code`: [a](b.html)."),
        nbformat.v4.new_code_cell(source, outputs=outputs, execution_count=1),
        nbformat.v4.new_code_cell(source, metadata={"magics_language": "sql"}),
    ]
    language = {"name": "python", "pygments_lexer": "ipython3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"language_info": language}), tmp_path / "a.ipynb")
    plain = HTMLExporter(template_name="lab")
    for url in ("require_js_url", "mathjax_url", "jquery_url", "jupyter_widgets_base_url", "mermaid_js_url"):
        setattr(plain, url, "")
    written = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    expected, _ = plain.from_notebook_node(written, resources={"metadata": {"name": "a"}})
    for _ in range(2):  # the second one remembers the first
        page = to_html(tmp_path / "a.ipynb").read_text(encoding="utf-8")
        assert str(BeautifulSoup(page, features="html.parser")) == expected
        cleaned = _exporter().environment.filters["clean_html"].cache_info()
    assert cleaned.hits >= 3  # title and sources of the second page
    assert cells[0].source in _exporter()._marked_up
    assert expected.count('tabindex="0"') >= 5


def test_a_picture_in_a_text_is_that_of_its_own_cell(tmp_path):
    def cell(data):
        attachments = {"a.png": {"image/png": data}}
        return nbformat.v4.new_markdown_cell("![one](attachment:a.png)", attachments=attachments)

    nbformat.write(nbformat.v4.new_notebook(cells=[cell("AAAA"), cell("BBBB")]), tmp_path / "a.ipynb")
    page = to_html(tmp_path / "a.ipynb").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,AAAA") == page.count("data:image/png;base64,BBBB") == 1
