from __future__ import annotations

import html
import json
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from workbench.domain import Activity, ActivityKind, Decision
from workbench.errors import DataError
from workbench.reports import tearsheet
from workbench.reports.collect import collect
from workbench.reports.report import last_account, write_report
from workbench.reports.tearsheet import cards, plotly_script, render, write_tearsheet
from workbench.settings import Settings

SCRIPT = "../assets/plotly.min.js"


class Page(HTMLParser):
    """What a browser makes of a page: its text, its scripts, what it loads, its cells by table heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.loads: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        if tag == "script":
            self.scripts.append("")
        self.loads += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._inside:
            self.scripts[-1] += data
        elif "style" not in self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(story, lake, **options) -> Page:
    return Page(render(collect(story.journal, lake, account="paper", **options), script=SCRIPT))


def chart_of(page: Page) -> dict[str, object]:
    return json.loads(next(script for script in page.scripts if script.lstrip().startswith('{"data"')))


def assert_nothing_undefined(page: Page) -> None:
    shown = page.text + json.dumps(chart_of(page))
    assert not re.search(r"\b(nan|inf|infinity|none|null|undefined)\b", page.text, re.IGNORECASE)
    assert not re.search(r"NaN|Infinity", shown)


def test_the_key_figures_are_those_worked_out_by_hand(told, lake):
    found = {card.label: (card.value, card.note) for card in cards(collect(told.journal, lake, account="paper"))}
    assert found["Equity"] == ("$10,883.99", "cash $3,028.99")
    assert found["Total return"] == ("+8.84%", "20 sessions")
    assert found["Buy and hold"] == ("+7.00%", "equal weights")
    assert found["CAGR"][0] == "–"  # noqa: RUF001
    assert found["Sharpe ratio"] == ("–", "shown after 20 sessions")  # noqa: RUF001
    # 7855 of 10883.991
    assert found["Invested"][0] == "72.2%"
    assert found["Trades"] == ("4", "1 denied")
    # 4 USD on 10,046.409 traded
    assert found["Fees"] == ("$4.00", "4.0 bps of value traded")


def test_the_benchmark_is_equal_thirds_with_the_dividend(told, lake):
    data = collect(told.journal, lake, account="paper")
    assert data.benchmark is not None
    assert data.benchmark.iloc[0] == 10000
    assert data.benchmark.iloc[-1] == pytest.approx(10700)
    # before the dividend only AAA moved: (1.06 + 1 + 1) / 3
    assert data.benchmark.iloc[6] == pytest.approx(10200)
    assert data.benchmark_note == "AAA, BBB, CCC"


def test_orders_show_decision_gate_reason_and_fill(told, lake):
    text = page_of(told, lake).text
    assert "max order value : order value 2,000.00 USD is above the limit of 1,500.00 USD" in text
    sold = "2013-01-18 sell BBB 30 approved filled 50.00 49.9900 0.0 2.0 $1.00 2013-01-22 daily-20130118-BBB-sell"
    assert sold in text
    assert "2013-01-02 buy CCC 100 denied denied 20.00" in text


def test_the_move_overnight_is_no_slippage_and_a_split_is_neither(told, lake):
    # 109 before a 2 for 1 split is 54.50; the open was 55.00 and the fill 54.5109:
    # 0.50 / 54.50 is 91.7 bps overnight, 0.4891 / 55 is 88.9 bps better than the open
    text = page_of(told, lake).text
    assert "2013-01-15 buy AAA 5 approved filled 10 shares 109.00 54.5109 91.7 −88.9 $1.00 2013-01-16" in text  # noqa: RUF001


def test_holdings_targets_runs_and_actions_are_listed(told, lake):
    text = page_of(told, lake).text
    assert "AAA 90 59.50 $5,355.00 49.2%" in text
    assert "Targets of 2013-01-30" in text
    assert "2013-01-09 daily succeeded 2 4.0 s" in text
    assert "2013-01-11 BBB dividend – $80.00" in text  # noqa: RUF001
    assert "2013-01-16 AAA split 40 –" in text  # noqa: RUF001
    assert "daily-20130130" in text
    assert "Data snapshot 1" in text
    assert "PAPER" in text


def test_the_page_of_an_earlier_session_shows_nothing_later(told, lake):
    page = page_of(told, lake, session=told.sessions[8])
    assert "2013-01-14" in page.text
    assert "2013-01-15" not in page.text
    assert chart_of(page)["data"][0]["x"][-1] == "2013-01-14"


def test_the_chart_is_a_figure_that_plotly_accepts(told, lake):
    from plotly.graph_objects import Figure

    figure = Figure(chart_of(page_of(told, lake)))
    assert [trace.name for trace in figure.data] == [
        "Strategy",
        "Buy and hold",
        "Strategy drawdown",
        "Buy and hold drawdown",
    ]
    assert figure.data[0].y[-1] == pytest.approx(10883.991)
    assert max(figure.data[2].y) == 0


@pytest.mark.parametrize("sessions", [1, 2, 20])
def test_no_page_shows_an_undefined_number(story, lake, sessions):
    story.play(sessions)
    assert_nothing_undefined(page_of(story, lake))


def test_an_account_that_never_traded_has_a_page(story, lake):
    opened = Activity("D", ActivityKind.DEPOSIT, "", story.sessions[0], Decimal(0), Decimal(10000), story.clock.now())
    story.ledger.record("paper", "paper", [], [opened])
    for day in story.sessions[:30]:
        story.ledger.mark("paper", day, Decimal(10000), {})
    page = page_of(story, lake)
    assert_nothing_undefined(page)
    assert "No benchmark: the strategy has named no symbol yet" in page.text
    for words in ("Nothing held", "No targets were set", "No order was proposed", "No run is recorded"):
        assert words in page.text


def test_an_account_whose_orders_were_all_denied_has_a_page(story, lake):
    story.play(1)
    for order in story.orders.intents(account="paper"):
        if order.state == "accepted":
            story.journal._connection.execute("UPDATE intents SET state='intended'")
            story.orders.deny({order.intent.client_order_id: Decision(False, "exposure", "gross 1.20 above 1.05")})
    for day in story.sessions[1:4]:
        story.ledger.mark("paper", day, Decimal(10000), {})
    page = page_of(story, lake)
    assert_nothing_undefined(page)
    assert page.text.count("exposure : gross 1.20 above 1.05") == 2


def test_a_symbol_without_prices_leaves_the_page_without_a_benchmark(told, lake):
    page = page_of(told, lake, symbols=["AAA", "ZZZ"])
    assert "No benchmark: no bars of ZZZ in the lake" in page.text
    assert_nothing_undefined(page)


def test_text_from_outside_cannot_run(story, lake):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&'\""
    story.play(20, refusal=attack)
    text = render(collect(story.journal, lake, account="paper"), script=SCRIPT)
    page = Page(text)
    assert attack not in text
    assert html.escape("<script>alert(1)") in text
    assert "<img" not in text
    # plotly, the chart's data and the page's own code
    assert len(page.scripts) == 3
    assert not any("alert" in script for script in page.scripts)


def test_an_account_name_cannot_break_out_of_the_page(story, lake):
    name = "<b>x</b>{{ 7*7 }}"
    story.ledger.mark(name, story.sessions[0], Decimal(1), {})
    text = render(collect(story.journal, lake, account=name), script=SCRIPT)
    assert "<b>x" not in text
    assert "49" not in Page(text).text


def test_nothing_is_loaded_from_elsewhere(told, lake):
    text = render(collect(told.journal, lake, account="paper"), script=SCRIPT)
    assert Page(text).loads == ["data:,", SCRIPT]
    assert not re.search(r"https?://|@import|url\(", text)


def test_the_script_is_put_beside_the_pages_once(told, lake, tmp_path):
    data = collect(told.journal, lake, account="paper")
    file = write_tearsheet(data, tmp_path / "reports" / "paper" / "2013-01-30.html")
    (script,) = (tmp_path / "reports" / "assets").iterdir()
    assert script.read_text() == plotly_script()
    (address,) = (load for load in Page(file.read_text()).loads if load.endswith(".js"))
    assert (file.parent / address).resolve() == script.resolve()
    before = script.stat().st_mtime_ns
    write_tearsheet(data, file)
    assert script.stat().st_mtime_ns == before
    assert [path.name for path in file.parent.iterdir()] == ["2013-01-30.html"]
    assert file.stat().st_size < 100_000


def test_a_script_torn_by_a_crash_is_replaced(told, lake, tmp_path):
    data = collect(told.journal, lake, account="paper")
    file, assets = tmp_path / "page.html", tmp_path / "assets"
    write_tearsheet(data, file, assets=assets)
    (script,) = assets.iterdir()
    script.write_text("half")
    write_tearsheet(data, file, assets=assets)
    assert script.read_text() == plotly_script()


def test_a_standalone_page_needs_no_other_file(told, lake, tmp_path):
    data = collect(told.journal, lake, account="paper")
    file = write_tearsheet(data, tmp_path / "alone" / "page.html", standalone=True)
    page = Page(file.read_text())
    assert page.loads == ["data:,"]
    assert page.scripts[0] == plotly_script()
    assert [path.name for path in tmp_path.joinpath("alone").iterdir()] == ["page.html"]


def test_an_account_without_a_valuation_has_no_page(journal, lake):
    with pytest.raises(DataError, match="account paper was not valued at any session; run a pipeline"):
        collect(journal, lake, account="paper")


def test_the_report_is_written_and_the_reports_merged(told, lake, tmp_path):
    settings = Settings(home=tmp_path, config_file=tmp_path / "workbench.toml")
    made = write_report(told.journal, lake, settings, account=last_account(told.journal))
    assert made.file == tmp_path / "data" / "reports" / "paper" / "2013-01-30.html"
    assert (made.pending, made.holder) == (False, "")
    assert settings.reports_file.is_file()
    assert (tmp_path / "data" / "reports" / "assets").is_dir()


def test_the_reports_file_can_be_left_to_who_runs_the_notebook(told, lake, tmp_path):
    settings = Settings(home=tmp_path, config_file=tmp_path / "workbench.toml")
    made = write_report(told.journal, lake, settings, account="paper", merge=False)
    assert made.file.is_file()
    assert (made.pending, made.holder) == (True, "the end of the run")
    assert not settings.reports_file.exists()


def test_before_the_first_run_there_is_no_last_account(journal):
    with pytest.raises(DataError, match="nothing has run yet; run: workbench run daily"):
        last_account(journal)


@pytest.mark.parametrize(("folder", "kept"), [("", 1), ("gone", 0)])
def test_the_compiled_template_is_kept_where_it_can_be(told, lake, tmp_path, monkeypatch, folder, kept):
    (tmp_path / "templates").mkdir()
    monkeypatch.setattr(tearsheet, "__file__", str(tmp_path / folder / "tearsheet.py"))
    data = collect(told.journal, lake, account="paper")
    pages = []
    for _ in range(2):  # compiled, then read
        tearsheet._environment.cache_clear()
        pages.append(render(data, script=SCRIPT))
    tearsheet._environment.cache_clear()
    assert pages[0] == pages[1]
    assert len(list(tmp_path.rglob("*.jinja"))) == kept
