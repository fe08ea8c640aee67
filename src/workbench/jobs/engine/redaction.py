"""Keeps the values of secret parameters out of what a run leaves behind.

A secret is no parameter: it belongs into the gateway's keeping. But papermill's users pass them, and papermill
then writes each into the output four times, so these values are blotted out wherever they are saved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

BLOT = "*****"
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|credential|private_?key|api_?key|access_?key|(^|_)(token|pwd)$", re.IGNORECASE
)
_LEAST_CHARACTERS = 4  # what is shorter stands in any text by chance
_CHUNK_CHARACTERS = 1 << 20


class Redaction:
    """Blots the values of parameters whose names say that they are secret.

    >>> Redaction({"symbol": "AAPL", "db_password": "hunter2"}).text("hunter2 bought AAPL")
    '***** bought AAPL'
    """

    def __init__(self, parameters: Mapping[str, object]) -> None:
        values = {text for name, value in parameters.items() if _SECRET_NAME.search(name) for text in _texts(value)}
        self._forms = sorted(_forms(values), key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def text(self, text: str) -> str:
        """The text without the secrets."""
        for form in self._forms:
            text = text.replace(form, BLOT)
        return text

    def file(self, file: Path) -> None:
        """Rewrite a log file without the secrets, however long it is."""
        if not self._forms or not file.exists():
            return
        clean = file.with_name(f".{file.name}.part")
        overlap = len(self._forms[0]) - 1
        try:
            with (
                file.open(encoding="utf-8", errors="replace", newline="") as source,
                clean.open("w", encoding="utf-8", newline="") as target,
            ):
                held = ""
                while chunk := source.read(_CHUNK_CHARACTERS):
                    held = self.text(held + chunk)
                    target.write(held[: max(0, len(held) - overlap)])
                    held = held[max(0, len(held) - overlap) :]
                target.write(held)
            clean.replace(file)
        finally:
            clean.unlink(missing_ok=True)


def blotted(parameters: Mapping[str, object]) -> dict[str, object]:
    """The parameters as they may be kept on record.

    >>> blotted({"symbol": "AAPL", "db_password": "hunter2"})
    {'symbol': 'AAPL', 'db_password': '*****'}
    """
    return {name: BLOT if _SECRET_NAME.search(name) and value else value for name, value in parameters.items()}


def _texts(value: object) -> Iterable[str]:
    """The strings in a parameter's value."""
    if isinstance(value, str):
        return [value] if len(value) >= _LEAST_CHARACTERS else []
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _texts(str(value))
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for item in value for text in _texts(item)]
    return []


def _forms(values: Iterable[str]) -> set[str]:
    """The values as they stand in text, in Python source and in JSON of either."""
    forms: set[str] = set()
    for value in values:
        escaped = value.encode("unicode_escape").decode()
        plain = {value, repr(value)[1:-1], escaped, escaped.replace('"', '\\"')}
        forms |= plain | {_json(form, ascii) for form in plain for ascii in (True, False)}
    return forms


def _json(text: Any, ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii)[1:-1]
