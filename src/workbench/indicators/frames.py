"""Frames whose arithmetic is quick where it is simple: on a few thousand values pandas' own is mostly book-keeping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

_COMPARISONS = frozenset(("lt", "le", "gt", "ge", "eq", "ne"))
_ARITHMETIC = frozenset(("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv"))
_LOGIC = frozenset(("and_", "rand_", "or_", "ror_", "xor", "rxor"))
_EXACT = 2**53  # whole numbers up to here are floats


class QuickFrame(pd.DataFrame):
    """A frame with a short way for operators between frames of the very same labels, and of frames with numbers.

    ``moving_average(close, 20) > moving_average(close, 50)`` compares two arrays of floats; pandas does that in a
    fortieth of the time that it takes to see that nothing has to be aligned. Values, types and labels are pandas' own:
    what is not simple (other labels, several types, a series) goes to pandas, and so does every method.

    >>> day = pd.DataFrame({"IBM": [1.0, 3.0]})
    >>> quick = QuickFrame(day.to_numpy(), index=day.index, columns=day.columns)
    >>> (quick > 2.0) * 1.0
       IBM
    0  0.0
    1  1.0
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        """What methods make of it is a plain frame."""
        return pd.DataFrame

    @staticmethod
    def of(frame: pd.DataFrame, *, deep: bool) -> QuickFrame:
        """A frame of its own with the labels and the values of another, or with a copy of the values."""
        return _over(frame, *(block.copy(deep=deep) for block in frame._mgr.blocks))

    # The three methods behind all operators of pandas. Should pandas name them anew, operators are slower, not wrong.

    def _cmp_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:
        made = self._quickly(other, op)
        return super()._cmp_method(other, op) if made is None else made  # type: ignore[misc]

    def _arith_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:
        made = self._quickly(other, op)
        return super()._arith_method(other, op) if made is None else made  # type: ignore[misc]

    def _logical_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:
        made = self._quickly(other, op)
        return super()._logical_method(other, op) if made is None else made  # type: ignore[misc]

    def _quickly(self, other: Any, op: Callable[[Any, Any], Any]) -> QuickFrame | None:
        left, right = _values(self), _operand(self, other)
        if left is None or right is None or not _simple(op.__name__, left, right) or self.attrs:
            return None
        if not self.flags.allows_duplicate_labels:
            return None
        if left.dtype == np.bool_ and type(right) is float:
            left = left.astype(np.float64)  # as numpy does by itself, but bit by bit
        with np.errstate(all="ignore"):
            return _over(self, self._mgr.blocks[0].make_block(op(left, right)))


def _over(frame: pd.DataFrame, *blocks: Any) -> QuickFrame:
    """A frame of other values with the labels of this one; its constructor takes ten times as long to check them."""
    manager: Any = frame._mgr
    made = type(manager)(blocks, list(manager.axes), verify_integrity=False)
    return cast(QuickFrame, cast(Any, QuickFrame)._from_mgr(made, made.axes))


def _values(frame: pd.DataFrame) -> npt.NDArray[Any] | None:
    """The array that the frame is of, if it is one array."""
    blocks = frame._mgr.blocks
    values = blocks[0].values if len(blocks) == 1 else None
    return values if type(values) is np.ndarray else None


def _operand(frame: pd.DataFrame, other: Any) -> Any:
    """What stands on the other side: an array of the same labels, or a number; None if it is anything else."""
    kind = type(other)
    if kind is float or (kind is int and abs(other) <= _EXACT):
        return other
    if isinstance(other, pd.DataFrame) and other.index is frame.index and other.columns is frame.columns:
        return _values(other)
    return None


def _simple(operator: str, left: npt.NDArray[Any], right: Any) -> bool:
    """Whether numpy gives what pandas does: floats with floats, true and false with each other or times a float."""
    other = right.dtype if isinstance(right, np.ndarray) else None
    if left.dtype == np.float64:
        return (operator in _COMPARISONS or operator in _ARITHMETIC) and (other is None or other == np.float64)
    if left.dtype == np.bool_:
        return other == np.bool_ if operator in _LOGIC else operator in ("mul", "rmul") and type(right) is float
    return False
