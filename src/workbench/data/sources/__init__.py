"""What data can come from, behind one protocol (:class:`workbench.data.dataset.Source`)."""

from __future__ import annotations

from workbench.data.sources.reading import Reading
from workbench.data.sources.wiki import read_wiki, wiki_digest

__all__ = ["Reading", "read_wiki", "wiki_digest"]
