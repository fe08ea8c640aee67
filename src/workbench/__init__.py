"""Workbench: research, backtest, paper and live run the same strategy on the same data version."""

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def __getattr__(name: str) -> object:
    """Load ``workbench.open`` on first use, so that importing the package costs nothing."""
    if name == "open":
        from workbench.app import open_workbench

        return open_workbench
    raise AttributeError(f"module 'workbench' has no attribute {name!r}")
