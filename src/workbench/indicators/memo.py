"""Indicators that a sweep asks for again and again are computed once: the same window on the same bars."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast

import pandas as pd

from workbench.indicators.frames import QuickFrame

F = TypeVar("F", bound=Callable[..., Any])
_MOST_BYTES = 64_000_000
_active: ContextVar[Memo | None] = ContextVar("memo", default=None)


@contextmanager
def remembering(frames: Iterable[pd.DataFrame], most_bytes: int = _MOST_BYTES, *, lent: bool = False) -> Iterator[Memo]:
    """Within the block, and in this thread, an indicator of one of these frames is computed once.

    Every caller gets a frame of its own, with a copy of the values. If they are ``lent`` there is no copy: they are
    shared, and a write into them is refused; whoever has to write sets ``lent`` of what is given here to False. When
    there are more than ``most_bytes``, what was not asked for longest is forgotten. The frames must not change.
    """
    memo = Memo(frames, most_bytes, lent)
    token = _active.set(memo)
    try:
        yield memo
    finally:
        _active.reset(token)


def remembered(indicator: F) -> F:
    """Let an indicator that returns a frame take part."""
    signature = inspect.signature(indicator)
    count = len(signature.parameters)

    @wraps(indicator)
    def call(*arguments: Any, **named: Any) -> Any:
        memo = _active.get()
        if memo is None:
            return indicator(*arguments, **named)
        if named or len(arguments) != count:
            bound = signature.bind(*arguments, **named)
            bound.apply_defaults()
            arguments = bound.args
        return memo.get(indicator, arguments)

    return cast(F, call)


class Memo:
    """The indicators that are known, each as a frame over values that nobody can write into."""

    def __init__(self, frames: Iterable[pd.DataFrame], most_bytes: int, lent: bool) -> None:
        self.lent = lent
        self._frames = {id(frame): frame for frame in frames}
        self._most_bytes, self._bytes = most_bytes, 0
        self._known: OrderedDict[object, pd.DataFrame] = OrderedDict()

    def get(self, indicator: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        key = self._key(indicator, arguments)
        if key is None:
            return indicator(*arguments)
        found = self._known.get(key)
        if found is None:
            found = self._keep(key, indicator(*arguments))
        else:
            self._known.move_to_end(key)
        return QuickFrame.of(found, deep=not self.lent)

    def _key(self, indicator: Callable[..., Any], arguments: tuple[Any, ...]) -> object:
        """None where something is asked for that is not of these frames."""
        parts: list[object] = [indicator]
        for value in arguments:
            kind = type(value)
            if kind is int or kind is float or kind is bool:  # equal ones of other types are not the same
                parts += kind, value
            elif id(value) in self._frames:
                parts.append(id(value))
            else:
                return None
        return tuple(parts)

    def _keep(self, key: object, made: pd.DataFrame) -> pd.DataFrame:
        values = made.to_numpy()
        values.flags.writeable = False
        kept = self._known[key] = pd.DataFrame(values, index=made.index, columns=made.columns)
        self._bytes += values.nbytes
        while self._bytes > self._most_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.to_numpy().nbytes
        return kept
