"""One frozen ``Settings`` from ``workbench.toml`` and the environment.

The file is looked up from the working directory upwards, or named by ``WORKBENCH_CONFIG``.
Any key can be overridden by the environment: ``WORKBENCH_RISK__MAX_ORDER_VALUE_USD=5000``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import ConfigError, nearest

CONFIG_NAME = "workbench.toml"
_PREFIX = "WORKBENCH_"
# Variables with the prefix that carry the context of a run, not a setting.
RESERVED = frozenset({"WORKBENCH_CONFIG", "WORKBENCH_RUN", "WORKBENCH_STEP", "WORKBENCH_ORDERS"})

_NAME = r"[a-z][a-z0-9_-]{0,31}"
Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=f"^{_NAME}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class AccountSettings(_Section):
    """The account that pipelines trade. The broker ``alpaca`` needs two keys in the environment."""

    name: Name = "paper"
    broker: Literal["paper", "alpaca"] = "paper"
    starting_cash_usd: Positive = Decimal(100_000)


class AlpacaSettings(_Section):
    """How Alpaca is reached. An address that is not its paper one or this machine is live, and refused unless armed."""

    base_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] = "https://paper-api.alpaca.markets"
    data_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] = "https://data.alpaca.markets"  # bars, actions
    armed_account: str = ""  # must repeat the account's name before real money can be spent
    connect_timeout_s: Seconds = 3.0
    read_timeout_s: Seconds = 10.0
    stream: bool = True
    poll_s: Seconds = 2.0  # how often fills are asked for while the stream is down


class CostSettings(_Section):
    """What the paper exchange charges, and every backtest assumes."""

    commission_per_share_usd: Usd = Decimal("0.005")
    commission_min_usd: Usd = Decimal("1.00")
    slippage_bps: Annotated[Decimal, Field(ge=0, le=1000, allow_inf_nan=False)] = Decimal(2)


class ExchangeSettings(_Section):
    """How the paper exchange matches. ``max_volume_share`` of a session's volume fills an order; none is no bound."""

    max_volume_share: Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    fractional: bool = True


class PlannerSettings(_Section):
    """How targets become orders."""

    cash_buffer: Fraction = Decimal("0.02")
    min_trade_value_usd: Usd = Decimal(100)
    tolerance: Fraction = Decimal("0.005")
    lot: Positive = Decimal(1)  # shares; 0.001 trades fractions
    time_in_force: Literal["day", "opg"] = "day"
    limit_bps: Annotated[Decimal, Field(ge=0, le=5000, allow_inf_nan=False)] | None = None  # none: market orders
    tick_usd: Positive = Decimal("0.01")


class StrategyLimits(_Section):
    """Limits of one strategy, on the shares it bought itself; what is left out is bounded by the account alone."""

    max_order_value_usd: Positive | None = None
    max_gross_exposure: Positive | None = None
    max_net_exposure: Positive | None = None
    max_name_exposure: Positive | None = None


class RiskSettings(_Section):
    """Limits that no order passes, whichever notebook it comes from. Exposures are multiples of equity."""

    max_order_value_usd: Positive = Decimal(75_000)
    max_order_quantity: Positive = Decimal(100_000)
    max_volume_share: Positive = Decimal("0.05")  # of the average volume of the last 20 sessions
    market_order_buffer: Fraction = Decimal("0.01")
    max_gross_exposure: Positive = Decimal("1.05")
    max_net_exposure: Positive = Decimal("1.05")
    max_name_exposure: Positive = Decimal("0.60")
    price_collar: Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)] = Decimal("0.05")
    allow_short: bool = False
    restricted: tuple[str, ...] = ()
    max_orders_per_minute: Annotated[int, Field(ge=1)] = 2000
    duplicate_window_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    max_clock_skew_s: Seconds = 2.0
    max_daily_loss: Fraction = Decimal("0.10")  # share of the equity at the close before
    max_drawdown: Fraction = Decimal("0.30")  # from the highest close
    breaker: Literal["reducing", "halted"] = "reducing"
    require_quality: bool = True
    strategies: dict[str, StrategyLimits] = Field(default_factory=dict)


class ThrottleSettings(_Section):
    """The pace of orders: ``per_s`` on average and ``burst`` at once. Orders wait for it, they are not refused."""

    per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    burst: Annotated[int, Field(ge=1)] = 10


class ReconcileSettings(_Section):
    """What may differ between the books and the venue before a symbol or the account is locked."""

    cash_tolerance_usd: Usd = Decimal("0.01")
    every_s: Seconds = 30.0  # while orders are open
    lookback_days: Annotated[int, Field(ge=1)] = 10  # of the drop copy


class JobSettings(_Section):
    """How much output of a notebook is kept; what is over it is cut in the notebook and complete in its log."""

    cell_output_kb: Annotated[int, Field(ge=1)] = 1_000
    run_output_kb: Annotated[int, Field(ge=1)] = 20_000
    output_log_mb: Annotated[int, Field(ge=1)] = 4_000  # a notebook that prints more is stopped


class ScheduleSettings(_Section):
    """The scheduler: when it gets a job ready, how many run side by side, how long one may take to stop."""

    warm_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 60.0
    # Jobs without orders, those of one account go in turn; none is what the machine carries.
    side_by_side: Annotated[int, Field(ge=1, le=64)] | None = None
    stop_s: Seconds = 30.0
    look_s: Seconds = 2.0


class MachineSettings(_Section):
    """What a run that may order needs of the machine before it starts."""

    min_free_disk_mb: Annotated[int, Field(ge=0)] = 500
    min_free_memory_mb: Annotated[int, Field(ge=0)] = 300
    max_fsync_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 250.0  # median of a durable write
    max_clock_offset_s: Seconds = 2.0
    time_server: str = ""  # SNTP: host or host:port; none: the kernel and the venues are believed


class LatencySettings(_Section):
    """What `workbench latency` measures beside the configured venue, and when it raises an alarm."""

    hosts: tuple[str, ...] = ()  # host, host:port or an address
    tries: Annotated[int, Field(ge=1, le=10_000)] = 20
    timeout_s: Seconds = 3.0
    alarm_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0  # times the usual median


class PriceSettings(_Section):
    """Your own prices, for local against cloud. The defaults are examples, not offers."""

    local_usd: Usd = Decimal(1500)  # the machine, bought
    local_years: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)] = Decimal(4)
    local_watts: Usd = Decimal(60)  # on average, around the clock
    electricity_usd_per_kwh: Usd = Decimal("0.30")
    cloud_usd_per_hour: Usd = Decimal("0.10")
    cloud_storage_usd_per_month: Usd = Decimal(8)
    cloud_relative_speed: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)] = Decimal(1)  # to this machine
    research_hours_per_month: Usd = Decimal(40)


class PathSettings(_Section):
    """Folders, relative to the file that names them."""

    data: Path = Path("data")
    sample: Path = Path("data/sample")
    pipelines: Path = Path("pipelines")
    notebooks: Path = Path("notebooks")


class Settings(_Section):
    """Everything that can be configured. ``home`` is the folder of the configuration file, ``config_file`` the file."""

    home: Path
    config_file: Path
    calendar: str = "XNYS"
    account: AccountSettings = AccountSettings()
    alpaca: AlpacaSettings = AlpacaSettings()
    costs: CostSettings = CostSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    planner: PlannerSettings = PlannerSettings()
    risk: RiskSettings = RiskSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    jobs: JobSettings = JobSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    machine: MachineSettings = MachineSettings()
    latency: LatencySettings = LatencySettings()
    prices: PriceSettings = PriceSettings()
    paths: PathSettings = PathSettings()
    # An action for each quality rule; what may stand here is data.cleaning's to say, and checked when it is used.
    cleaning: dict[str, str | int | float] = Field(default_factory=dict)

    @property
    def data_dir(self) -> Path:
        return self.home / self.paths.data

    @property
    def sample_dir(self) -> Path:
        return self.home / self.paths.sample

    @property
    def lake_dir(self) -> Path:
        return self.data_dir / "lake"

    @property
    def journal_file(self) -> Path:
        return self.data_dir / "journal.sqlite"

    @property
    def reports_file(self) -> Path:
        return self.data_dir / "reports.duckdb"

    @property
    def tearsheets_dir(self) -> Path:
        return self.data_dir / "reports"

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"

    @property
    def cache_dir(self) -> Path:
        """What can be made again at any time."""
        return self.data_dir / "cache"

    @property
    def research_dir(self) -> Path:
        """What was tried in research; it cannot be made again."""
        return self.data_dir / "research"

    @property
    def trials_dir(self) -> Path:
        return self.research_dir / "trials"

    @property
    def exchange_dir(self) -> Path:
        return self.data_dir / "exchange"

    @property
    def pipelines_dir(self) -> Path:
        return self.home / self.paths.pipelines

    @property
    def notebooks_dir(self) -> Path:
        return self.home / self.paths.notebooks


def find_config(start: Path, env: Mapping[str, str]) -> Path:
    """Find the configuration file from ``start`` upwards.

    Raises
    ------
    ConfigError
        If there is none, or ``WORKBENCH_CONFIG`` names a file that does not exist.
    """
    named = env.get("WORKBENCH_CONFIG")
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise ConfigError(f"WORKBENCH_CONFIG names {named}, which is not a file")
        return file.resolve()
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    raise ConfigError(
        f"no {CONFIG_NAME} in {start} or above",
        hint="change to the workbench folder, or set WORKBENCH_CONFIG to the file",
    )


def load_settings(start: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration, apply the environment, check every value.

    Raises
    ------
    ConfigError
        If the file is missing or broken or a value is wrong; the message names file and key.
    """
    env = os.environ if env is None else env
    file = find_config(start or Path.cwd(), env)
    try:
        values = toml(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    overridden = _apply_environment(values, env)
    try:
        return Settings(home=file.parent, config_file=file, **values)
    except ValidationError as error:
        raise ConfigError(_describe(error, file, overridden)) from error
    except TypeError as error:  # a top-level key named home or config_file
        raise ConfigError(f"{file}: {error}") from error


def toml(text: str) -> dict[str, Any]:
    """The values of a TOML file, parsed once: a replay reads the same files for every session, in each of its kernels.

    >>> toml("a = [1, 2]")
    {'a': [1, 2]}
    """
    return deepcopy(_parsed(text))


@lru_cache(16)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def account_name(text: str) -> str:
    """Check the name of an account; it names files, so it is short and plain.

    Raises
    ------
    ConfigError
        If it is not lower-case letters, digits, ``-`` and ``_``, letter first, at most 32 characters.
    """
    if not re.fullmatch(_NAME, text):
        raise ConfigError(
            f"{text!r} cannot be the name of an account",
            hint="use lower-case letters, digits, - and _, a letter first, at most 32 characters",
        )
    return text


def describe_errors(error: ValidationError, model: type[BaseModel]) -> str:
    """Put a validation error into words: each wrong key, what it got and what is allowed."""
    return "; ".join(_one(dict(item), model) for item in error.errors())


def _apply_environment(values: dict[str, Any], env: Mapping[str, str]) -> set[str]:
    """Set ``WORKBENCH_SECTION__KEY`` values into ``values``; return the dotted keys that were set."""
    changed = set()
    for variable in sorted(env):
        if not variable.startswith(_PREFIX) or variable in RESERVED:
            continue
        keys = variable.removeprefix(_PREFIX).lower().split("__")
        table = values
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ConfigError(f"the environment variable {variable} names a section that is a value")
        table[keys[-1]] = env[variable]
        changed.add(".".join(keys))
    return changed


def _describe(error: ValidationError, file: Path, overridden: set[str]) -> str:
    where = str(file)
    keys = {".".join(str(part) for part in item["loc"]) for item in error.errors()}
    if keys & overridden:
        where = f"{file} and the environment"
    return f"{where}: {describe_errors(error, Settings)}"


def _one(item: dict[str, Any], model: type[BaseModel]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        return f"unknown key {key!r}, {nearest(location[-1], _keys(model, location[:-1]))}"
    if item["type"] == "missing":
        return f"{key}: missing"
    got = f" (got {item['input']!r})" if not isinstance(item["input"], dict) else ""
    message = str(item["msg"])
    return f"{key}: {message[0].lower()}{message[1:]}{got}"


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The valid keys of the section at ``path``; an unresolvable step ends at the section above."""
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return [name for name in model.model_fields if name not in {"home", "config_file"}]
