"""Finished notebooks as web pages.

nbconvert takes half a second to import and nearly as long again for its first page, 10 to 60 ms for each one
after: :mod:`workbench.jobs.pages` keeps a process for it.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import JobError
from workbench.jobs.engine import FORMAT_CHECKS, imports_without
from workbench.jobs.files import write_atomically

if TYPE_CHECKING:
    from nbconvert.exporters import HTMLExporter


def to_html(notebook: Path) -> Path:
    """Write ``notebook`` as a page of its own beside it, whole or not at all; returns the page.

    The page asks nothing of the network.

    Raises
    ------
    JobError
        If the file is not a notebook.
    """
    exporter = _exporter()
    import nbformat

    try:
        nb = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]  # no types
    except (OSError, nbformat.reader.NotJSONError) as error:
        raise JobError(f"no page of {notebook}: {str(error).splitlines()[0]}") from error
    body, _ = exporter.from_notebook_node(nb, resources={"metadata": {"name": notebook.stem}})
    page = notebook.with_suffix(".html")
    write_atomically(page, body)
    return page


def prepare(cache: Path | None = None) -> None:
    """Import nbconvert and compile its templates, so that the first page is as quick as the others.

    ``cache`` is a folder for the compiled templates, which the next process then finds.
    """
    exporter = _exporter()
    if cache is not None:
        from jinja2 import FileSystemBytecodeCache

        with suppress(OSError):  # a folder that cannot be written costs time, nothing else
            cache.mkdir(parents=True, exist_ok=True)
            exporter.environment.bytecode_cache = FileSystemBytecodeCache(str(cache), "page-%s.jinja")
    import nbformat

    title = nbformat.v4.new_markdown_cell("# *&amp;*")  # type: ignore[no-untyped-call]  # no types
    code = nbformat.v4.new_code_cell("1")  # type: ignore[no-untyped-call]  # no types
    nb = nbformat.v4.new_notebook(cells=[title, code])  # type: ignore[no-untyped-call]  # no types
    exporter.from_notebook_node(nb)


@lru_cache(maxsize=1)
def _exporter() -> HTMLExporter:
    with imports_without(*FORMAT_CHECKS):
        from nbconvert.exporters import HTMLExporter
        from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    exporter = HTMLExporter(template_name="lab")  # type: ignore[no-untyped-call]  # nbconvert has no types
    for url in ("require_js_url", "mathjax_url", "jquery_url", "jupyter_widgets_base_url", "mermaid_js_url"):
        setattr(exporter, url, "")
    # a progress bar is one line on the page, not one for every time it moved
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # type: ignore[no-untyped-call]  # as above
    return exporter
