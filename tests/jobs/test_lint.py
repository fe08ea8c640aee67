"""Every house rule of notebooks, broken once and kept once."""

from __future__ import annotations

import pytest

from workbench.jobs.lint import lint


def _broken(file, **options) -> list[tuple[int | None, str]]:
    return [(violation.cell, violation.rule) for violation in lint(file, **options)]


def test_a_good_notebook_breaks_no_rule(notebook):
    file = notebook(
        ('top: int = 2\nasof: "date" = "2013-01-02"', ["parameters"]),
        "import pandas as pd\n\nimport workbench",
        "wb = workbench.open()\nratio = 1 / 2\n%matplotlib inline",
        "%%bash\nls",
        "pd.Timestamp('2013-01-02'), 'a/b', 'USD/share', '/', 'token'",
        ("np.random.default_rng(7), np.random.default_rng(seed=number)", ["nbval-check-output", "timeout=60"]),
    )
    assert lint(file, is_job=True) == []


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("def f():\n    pass", "definitions"),
        ("class A:\n    pass", "definitions"),
        ("import duckdb", "clients"),
        ("from alpaca_trade_api.rest import REST", "clients"),
        ("import sqlite3 as s", "clients"),
        ("datetime.now()", "clock"),
        ("pd.Timestamp.today()", "clock"),
        ("time.time()", "clock"),
        ("pd.Timestamp('now')", "clock"),
        ("np.random.default_rng()", "seed"),
        ("rng = numpy.random.default_rng(seed=None)", "seed"),
        ("np.random.seed()", "seed"),
        ("RandomState()", "seed"),
        ("open('/home/ada/prices.csv')", "paths"),
        ("path = 'C:\\\\prices'", "paths"),
        ("path = '~/prices'", "paths"),
        ("api_key = 'abc'", "credentials"),
        ("connect(password='abc')", "credentials"),
        ("os.environ['APCA_API_SECRET_KEY']", "credentials"),
        ("url = 'postgres://ada:pw@host/db'", "credentials"),
        ("x = 1\n" * 13, "size"),
        ("x = = 1", "syntax"),
    ],
)
def test_a_cell_that_breaks_a_rule_is_named(notebook, source, rule):
    assert _broken(notebook("1 + 1", source)) == [(2, rule)]


def test_twelve_lines_and_fifteen_cells_are_allowed_and_no_more(notebook):
    assert _broken(notebook(*["\n".join(["x = 1"] * 12)] * 15)) == []
    assert _broken(notebook(*["x = 1"] * 16)) == [(None, "size")]


def test_the_title_says_what_it_is_and_whether_it_trades(notebook):
    assert _broken(notebook("1", title="# Title\n\n**Places orders: yes**")) == []
    assert _broken(notebook("1", title="# Title")) == [(None, "title")]
    assert _broken(notebook("1", title="Title, places orders: no")) == [(None, "title")]


def test_imports_are_in_one_cell(notebook):
    assert _broken(notebook("import os", "import sys")) == [(None, "imports")]


def test_a_job_has_a_parameters_cell_that_can_be_read(notebook):
    assert _broken(notebook("1"), is_job=True) == [(None, "parameters")]
    assert _broken(notebook(("top = 2", ["parameters"])), is_job=True) == [(None, "parameters")]


def test_an_annotation_that_would_fail_when_the_cell_runs_is_to_be_quoted(notebook):
    (violation,) = lint(notebook(("asof: date = '2013-01-02'", ["parameters"])))
    assert "put the annotation of 'asof' in quotes: date is not imported yet" in str(violation)
    assert lint(notebook(("from datetime import date\n\nasof: date = '2013-01-02'", ["parameters"]))) == []


@pytest.mark.parametrize(
    "source",
    [
        "top: int = 1 + 1",
        "a: int = 1\nb: int = a",
        "day: str = str(1)",
        "for i in range(3):\n    pass",
        "x: int = int('1')",
    ],
)
def test_a_derived_default_is_refused_with_cell_and_line(notebook, source):
    (violation,) = lint(notebook("1", (source, ["parameters"])))
    assert violation.rule == "parameters"
    assert "cell [2], line" in violation.message
    assert "annotated literals only" in violation.message


def test_a_misspelt_tag_of_nbval_is_found(notebook):
    (violation,) = lint(notebook(("1", ["nbval-chek-output"])))
    assert (violation.cell, violation.rule) == (1, "tags")
    assert "did you mean nbval-check-output" in violation.message
    assert _broken(notebook("# NBVAL_IGNORE\n1")) == [(1, "tags")]


@pytest.mark.parametrize("tag", ["nbval-skip", "raises-exception", "nbval-raises-exception"])
def test_what_a_job_runs_is_tested_and_an_error_ends_it(notebook, tag):
    file = notebook(("top: int = 2", ["parameters"]), ("1", [tag]))
    assert _broken(file) == []
    assert _broken(file, is_job=True) == [(2, "tags")]
