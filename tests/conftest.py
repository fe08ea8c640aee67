from hypothesis import HealthCheck, settings
from support.homes import forget_seed

# Notebooks in here are fixtures, some of them broken on purpose; the product's own are collected from
# notebooks/ and pipelines/. The network guard is in the conftest.py of the repository's root.
collect_ignore_glob = ["*.ipynb"]

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_unconfigure() -> None:
    forget_seed()
