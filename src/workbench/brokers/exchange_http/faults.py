"""The fault plan: what the exchange is told to get wrong, on which request or fill, how often.

A plan is data (JSON) and plays the same every time: faults without a ``rate`` are used up in their order on the
next requests or fills that match; faults with a rate are drawn from a generator seeded by the plan.
"""

from __future__ import annotations

import json
import random
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.errors import ConfigError

WEBSOCKET = "WEBSOCKET"


class Kind(StrEnum):
    """What goes wrong. ``accept`` of the fault says whether the request is carried out all the same."""

    STATUS = "status"  # answer ``status`` (504), as a proxy's HTML page
    DROP = "drop"  # close the connection without an answer
    HANG = "hang"  # no answer for ``seconds`` on the clock, or until told to go on
    HTML = "html"  # 200 with a page
    TRUNCATED = "truncated"  # 200 with half of the JSON
    RATE_LIMIT = "rate_limit"  # 429; the headers say ``seconds`` (30) until it is over
    REJECT = "reject"  # ``status`` (403), ``code`` and ``message`` as Alpaca's refusal
    DOWN = "down"  # every connection is closed for ``times`` requests, streams included
    DUPLICATE_FILLS = "duplicate_fills"  # a fill is listed and streamed twice
    REORDER_FILLS = "reorder_fills"  # a fill changes places with the one told next to it
    PARTIAL_FILLS = "partial_fills"  # a fill is told as ``pieces`` (2) executions
    LATE_FILLS = "late_fills"  # a fill is left out of the activities for ``polls`` (3) requests, and never streamed
    OVERFILL = "overfill"  # once an order has filled, ``quantity`` (1) more
    BUST = "bust"  # the trade is taken back
    CORRECT = "correct"  # the trade gets another ``price`` or ``quantity``
    SKEW = "skew"  # the venue's clock is ``seconds`` ahead, or behind if negative, while the plan stands


_REQUESTS = {
    Kind.STATUS, Kind.DROP, Kind.HANG, Kind.HTML, Kind.TRUNCATED, Kind.RATE_LIMIT, Kind.REJECT, Kind.DOWN,
}  # fmt: skip
_TELLINGS = {Kind.DUPLICATE_FILLS, Kind.REORDER_FILLS, Kind.PARTIAL_FILLS, Kind.LATE_FILLS}
_TRADES = {Kind.OVERFILL, Kind.BUST, Kind.CORRECT}


class Fault(BaseModel):
    """One thing that goes wrong.

    ``method`` and ``path`` (``*`` stands for anything) choose requests, ``symbol`` chooses fills. ``times`` is how
    often it happens, None without end; with ``rate`` each match is hit with that probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    accept: bool = False
    method: str | None = None
    path: str = "*"
    symbol: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    rate: Annotated[float, Field(ge=0, le=1)] | None = None
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    code: int | None = None
    message: str | None = None
    seconds: Annotated[float, Field(allow_inf_nan=False)] | None = None
    polls: Annotated[int, Field(ge=1)] = 3
    pieces: Annotated[int, Field(ge=2, le=100)] = 2
    quantity: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)] | None = None
    price: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Fault:
        if self.kind is Kind.SKEW and self.seconds is None:
            raise ValueError("a skewed clock needs seconds")
        if self.kind is Kind.CORRECT and self.price is None and self.quantity is None:
            raise ValueError("a correction needs a price or a quantity")
        return self

    def meets_request(self, method: str, path: str) -> bool:
        """Whether a request is meant; a stream's handshake only by its method, or when the venue is down."""
        if self.kind is Kind.DOWN:
            return True
        if method == WEBSOCKET and self.method != WEBSOCKET:
            return False
        return self.method in (None, method) and fnmatchcase(path, self.path)

    def meets_fill(self, symbol: str) -> bool:
        return self.symbol in (None, symbol)


class FaultPlan(BaseModel):
    """Faults in the order they are played, and the seed of those that are drawn.

    >>> plan = FaultPlan.parse({"faults": [{"kind": "status", "status": 504, "accept": True, "method": "POST"}]})
    >>> plan.faults[0].kind
    <Kind.STATUS: 'status'>
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @classmethod
    def parse(cls, document: object) -> FaultPlan:
        """Read a plan out of JSON's objects.

        Raises
        ------
        ConfigError
            If a kind, key or value is wrong; the message names it.
        """
        try:
            return cls.model_validate_json(json.dumps(document))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the plan"
            raise ConfigError(f"fault plan: {where}: {first['msg']}") from error


class FaultPlayer:
    """A plan while it is played: what is left of it, and what was hit."""

    def __init__(self, plan: FaultPlan | None = None) -> None:
        self.plan = plan or FaultPlan()
        self.played: list[str] = []
        self._left: list[int | None] = [fault.times for fault in self.plan.faults]
        self._random = random.Random(self.plan.seed)

    @property
    def skew_s(self) -> float:
        """Seconds by which the venue's clock is ahead of the real one."""
        return sum(fault.seconds or 0.0 for fault in self.plan.faults if fault.kind is Kind.SKEW)

    @property
    def left(self) -> list[Fault]:
        """The faults that have not been used up."""
        return [fault for fault, times in zip(self.plan.faults, self._left, strict=True) if times != 0]

    def for_request(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets; using it counts."""
        for index, fault in enumerate(self.plan.faults):
            if fault.kind in _REQUESTS and fault.meets_request(method, path) and self._hits(index):
                self.played.append(f"{fault.kind.value} {method} {path}")
                return fault
        return None

    def for_telling(self, fill_id: str, symbol: str) -> list[Fault]:
        """How a new fill is told wrongly; using it counts."""
        return self._for_fill(fill_id, symbol, _TELLINGS)

    def for_trade(self, fill_id: str, symbol: str) -> list[Fault]:
        """What happens to a new fill after it was told; using it counts."""
        return self._for_fill(fill_id, symbol, _TRADES)

    def _for_fill(self, fill_id: str, symbol: str, kinds: set[Kind]) -> list[Fault]:
        found = []
        for index, fault in enumerate(self.plan.faults):
            if fault.kind in kinds and fault.meets_fill(symbol) and self._hits(index):
                self.played.append(f"{fault.kind.value} {fill_id}")
                found.append(fault)
        return found

    def _hits(self, index: int) -> bool:
        fault, left = self.plan.faults[index], self._left[index]
        if left == 0 or (fault.rate is not None and self._random.random() >= fault.rate):
            return False
        self._left[index] = None if left is None else left - 1
        return True
