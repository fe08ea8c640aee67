"""Local against cloud: what a month costs, with the user's own prices. A small model, every term shown."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from workbench.settings import PriceSettings

HOURS_A_MONTH = Decimal(730)  # 8,760 hours of a year over twelve


@dataclass(frozen=True, slots=True)
class Costs:
    """US dollars a month.

    ``local_usd`` is this machine, on all the time; ``cloud_always_usd`` one in the cloud, on all the time;
    ``cloud_research_usd`` one that is on for the research only. ``break_even_hours`` of research a month in the cloud
    cost as much as the local machine: below, renting is cheaper; none are if its storage alone costs more.
    """

    local_usd: Decimal
    cloud_always_usd: Decimal
    cloud_research_usd: Decimal
    break_even_hours: Decimal

    @property
    def cheapest(self) -> str:
        """Which way costs least, in words."""
        ways = {
            "this machine": self.local_usd,
            "a cloud machine for the research hours": self.cloud_research_usd,
            "a cloud machine that is always on": self.cloud_always_usd,
        }
        return min(ways, key=lambda way: ways[way])


def monthly_costs(prices: PriceSettings) -> Costs:
    """What a month costs at these prices.

    The local machine is written off in equal parts and draws power all the time. A cloud machine that is
    ``cloud_relative_speed`` times as fast needs that much less time for the same research.

    >>> from decimal import Decimal
    >>> prices = PriceSettings(local_usd=Decimal(1200), local_years=Decimal(5), local_watts=Decimal(50))
    >>> monthly_costs(prices).local_usd
    Decimal('30.95')
    """
    storage = prices.cloud_storage_usd_per_month
    bought = prices.local_usd / (prices.local_years * 12)
    power = prices.local_watts / 1000 * HOURS_A_MONTH * prices.electricity_usd_per_kwh
    local = bought + power
    hours = prices.research_hours_per_month / prices.cloud_relative_speed
    rate = prices.cloud_usd_per_hour
    even = max(Decimal(0), local - storage) / rate * prices.cloud_relative_speed if rate else Decimal("Infinity")
    return Costs(_cents(local), _cents(HOURS_A_MONTH * rate + storage), _cents(hours * rate + storage), even)


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))
