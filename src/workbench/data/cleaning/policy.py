"""What is done about each kind of fault: written down, checked, and known by its digest."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import ConfigError, nearest
from workbench.settings import describe_errors

Look = Literal["keep", "accept"]
Fill = Literal["keep", "accept", "previous", "interpolate"]
Price = Literal["keep", "accept", "drop", "previous", "interpolate"]
Drop = Literal["keep", "accept", "drop"]


class CleaningPolicy(BaseModel):
    """An action for every rule of :data:`workbench.data.quality.RULES`.

    ``keep`` leaves a finding alone and lists it; ``accept`` leaves it alone and says that this is right. The others
    repair: ``drop`` takes the bar out, ``previous`` puts the close before in its place (the past only),
    ``interpolate`` a value between its neighbours, which looks ahead and is refused by whatever trades. The defaults
    repair only what has one right answer.

    >>> CleaningPolicy(outlier="previous").outlier, CleaningPolicy().outlier
    ('previous', 'keep')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    duplicate: Literal["keep", "accept", "merge"] = "merge"
    conflicting_duplicate: Literal["keep", "accept", "first", "last", "drop"] = "keep"
    extra_session: Drop = "drop"
    extra_minutes: Drop = "keep"
    unit_error: Literal["keep", "accept", "divide", "drop"] = "divide"
    bad_value: Price = "keep"
    absurd_price: Price = "keep"
    outlier: Price = "keep"
    price_order: Literal["keep", "accept", "widen", "drop"] = "widen"
    zero_volume: Drop = "keep"
    stale_run: Drop = "keep"
    missing_sessions: Fill = "keep"
    missing_minutes: Fill = "keep"
    unapplied_split: Literal["keep", "accept", "record"] = "keep"
    split_not_in_price: Literal["keep", "accept", "move", "remove"] = "move"
    split_applied_twice: Literal["keep", "accept", "remove"] = "remove"
    wrong_dividend: Literal["keep", "accept", "remove"] = "keep"
    misplaced_dividend: Look = "keep"
    stale: Look = "keep"
    no_bars: Look = "keep"
    dropped_out: Look = "keep"
    time_zone_shift: Look = "keep"
    split_like_move: Look = "keep"
    pre_adjusted: Look = "keep"
    volume_adjusted: Look = "keep"
    ticker_reuse: Look = "keep"
    crossed_quotes: Look = "keep"
    known_fault: Look = "keep"

    # Sessions and minutes in a row that may be filled; a longer gap stays.
    max_fill: Annotated[int, Field(ge=1, le=20)] = 5
    max_fill_minutes: Annotated[int, Field(ge=1, le=60)] = 5
    # How far a high or low may be moved to hold open and close, as a share of the price.
    max_widen: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.05

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all choices, the defaults included."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def action(self, rule: str) -> str:
        """What is done about a rule's findings."""
        return str(getattr(self, rule))

    @property
    def looks_ahead(self) -> bool:
        """Whether a value may be made from a later one."""
        return any(getattr(self, name) == "interpolate" for name in rules())

    def with_options(self, options: Sequence[str]) -> CleaningPolicy:
        """The same with some choices changed, each as ``key=value``.

        Raises
        ------
        ConfigError
            If a key is unknown or a value is not one of those it can have.

        >>> CleaningPolicy().with_options(["outlier=drop", "max_fill=3"]).max_fill
        3
        """
        changed = {}
        for option in options:
            key, equals, value = option.partition("=")
            if not equals:
                raise ConfigError(f"option {option!r} is not of the form key=value", hint="as in outlier=previous")
            changed[key.strip()] = value.strip()
        return _validated(self.model_dump() | changed, "--option")


def rules() -> list[str]:
    """The rules that a policy has an action for, in the order of its fields."""
    return [name for name in CleaningPolicy.model_fields if not name.startswith("max_")]


def policy_of(values: Mapping[str, Any], where: str) -> CleaningPolicy:
    """The policy of a table of ``workbench.toml``.

    Raises
    ------
    ConfigError
        If a key or value is wrong; ``where`` is named in front.
    """
    return _validated(dict(values), where)


def read_policy(file: Path) -> CleaningPolicy:
    """The policy of a TOML file: its table ``[cleaning]``, or all of it where there is no such table.

    Raises
    ------
    ConfigError
        If the file cannot be read or a key or value is wrong.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    table = values.get("cleaning", values)
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: cleaning is not a table", hint="write [cleaning] over its keys")
    return _validated(table, str(file))


def _validated(values: Mapping[str, Any], where: str) -> CleaningPolicy:
    try:
        return CleaningPolicy(**values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_errors(error, CleaningPolicy)}", hint=_hint(error)) from error
    except TypeError as error:  # a key that is no text
        raise ConfigError(f"{where}: {error}") from error


def _hint(error: ValidationError) -> str | None:
    """The nearest action, where an action is wrong."""
    for item in error.errors():
        field = CleaningPolicy.model_fields.get(str(item["loc"][0])) if item["loc"] else None
        if item["type"] == "literal_error" and field is not None:
            return nearest(str(item["input"]), [str(one) for one in get_args(field.annotation)])
    return None
