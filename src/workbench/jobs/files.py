"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def encoded(text: str) -> bytes:
    r"""Text as UTF-8; half a pair of surrogates, which has no place in it, is spelt out.

    >>> encoded("\u00e9 \ud800")
    b'\xc3\xa9 \\ud800'
    """
    return text.encode("utf-8", errors="backslashreplace")


def write_atomically(file: Path, content: str | bytes) -> None:
    """Replace ``file`` in one step, so that a reader or a crash never sees half of it. Text is written as UTF-8."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content if isinstance(content, bytes) else encoded(content))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
