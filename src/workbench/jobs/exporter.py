"""nbconvert's exporter of web pages, without what it does again for every page of a replay.

Imported by :mod:`workbench.jobs.notebooks` when the first page is made: nbconvert costs half a second.
"""

# nbconvert has no types:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters import Highlight2HTML, clean_html
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbformat import NotebookNode

from workbench.jobs.files import encoded

_KEPT = 512  # pieces of pages: code as it is highlighted, text as it is cleaned
# What nbconvert makes reachable by the keyboard, as its templates write it.
_FOCUSABLE = re.compile(r'(<div class="(?:[^"]* )?(?:jp-Cell-inputWrapper|jp-OutputArea-output)(?: [^"]*)?")')
_STYLE = "\x1e"  # on both sides of the name of a style sheet: where it belongs
_FRAME = "<div>\n<style scoped>"  # how pandas begins a table
_TEXT = {"text/plain", "text/html"}


class PageExporter(HTMLExporter):
    """Makes the pages that nbconvert makes; its template is ``lab``."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(template_name="lab", **traits)
        self.optimistic_validation = True  # once after all preprocessors, not after each of a dozen
        highlight = Highlight2HTML(pygments_lexer="ipython3", parent=self)

        @lru_cache(_KEPT)
        def highlighted(source: str, language: str | None, magics: str | None) -> str:
            text: str = highlight(source, language, {"magics_language": magics} if magics else {})
            return text

        def highlight_code(source: str, language: str | None = None, metadata: Mapping[str, Any] | None = None) -> str:
            return highlighted(source, language, (metadata or {}).get("magics_language"))

        # The pages of a replay's sessions show the same code and the same text. Of the filters that are registered one
        # by one, setting this forgets all.
        self.filters = {"highlight_code": highlight_code, "clean_html": lru_cache(_KEPT)(clean_html)}
        self._marked_up: dict[str, str] = {}
        self._styles: dict[str, bytes] = {}
        self._holds_styles_back = False

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Text as a page shows it; that of a picture depends on its cell, all other on nothing else."""
        text: str | None = self._marked_up.get(source)
        if text is None:
            text = super().markdown2html(context, source)
            if "![" not in source and "<" not in source and len(self._marked_up) < _KEPT:
                self._marked_up[source] = text
        return text

    def page(self, nb: NotebookNode, name: str) -> bytes:
        """The page of a notebook that nobody else needs: what becomes of it is not said.

        nbconvert parses the whole page once more, half of the work, to make cells reachable by the keyboard and to give
        pictures a text. A page without pictures or markup of its own needs only the first, and no parser for it. Nor
        are its styles, nine tenths of it and the same for every page, carried through the template.
        """
        resources = {"metadata": {"name": name}}
        if not _is_plain(nb):
            text, _ = super().from_notebook_node(nb, resources)
            return encoded(text)
        resources = self._init_resources(resources)
        self.register_filter("highlight_code", self.filters["highlight_code"])
        widgets = WidgetsDataTypeFilter(notebook_metadata=self._nb_metadata, parent=self, resources=resources)
        self.register_filter("filter_data_type", widgets)
        self._holds_styles_back = True
        try:
            text, _ = TemplateExporter.from_notebook_node(self, _Own(nb), resources)
        finally:
            self._holds_styles_back = False
        head, mark, body = text.partition("<body")
        parts = [self._styles[part] if part in self._styles else encoded(part) for part in head.split(_STYLE)]
        return b"".join([*parts, encoded(mark), encoded(_FOCUSABLE.sub(r'\1 tabindex="0"', body))])

    def _init_resources(self, resources: Any) -> dict[str, Any]:
        made: dict[str, Any] = super()._init_resources(resources)
        read = made["include_css"]

        def include_css(name: str) -> Markup:
            if not self._holds_styles_back:
                style: Markup = read(name)
                return style
            if name not in self._styles:
                self._styles[name] = encoded(read(name))
            return Markup(f"{_STYLE}{name}{_STYLE}")

        made["include_css"] = include_css
        return made


class _Own(NotebookNode):
    """A notebook that nobody else looks at: the copies that nbconvert takes of it are itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Own:
        return self


def _is_plain(nb: NotebookNode) -> bool:
    """Whether a notebook shows nothing but text, code, and tables of pandas."""
    for cell in nb.cells:
        if cell.cell_type == "markdown" and ("<" in cell.source or "![" in cell.source):
            return False
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if not data.keys() <= _TEXT or not data.get("text/html", _FRAME).startswith(_FRAME):
                return False
    return True
