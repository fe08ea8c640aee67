from support.homes import forget_seed

# Notebooks in here are fixtures, some of them broken on purpose; the product's own are collected from
# notebooks/ and pipelines/. The network guard is in the conftest.py of the repository's root.
collect_ignore_glob = ["*.ipynb"]


def pytest_unconfigure() -> None:
    forget_seed()
