"""``workbench research`` as a person sees it: words, exit codes, JSON, and trials that are never forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.homes import make_home, workbench

from workbench.cli.main import main

WINDOW = ("--symbols", "AAPL,GOOG,IBM,MSFT", "--from", "2011-01-03", "--to", "2012-12-31")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_home(tmp_path_factory.mktemp("research") / "home", loaded=True)
    return made


def test_a_clean_look_ahead_check_says_what_it_looked_at_and_exits_0(home: Path) -> None:
    done = workbench(home, "research", "lookahead", "momentum", "-p", "top=3", "--from", "2012-01-03", "--cuts", "20")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "momentum: no look-ahead found"
    assert any(line.split() == ["checked", "lookback=126,", "top=3"] for line in lines)
    assert any(line.split()[:4] == ["lines", "of", "its", "code"] for line in lines)


def test_a_verdict_is_a_page_its_trials_are_kept_and_counted_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = workbench(home, "research", "trials")
    assert (empty.returncode, empty.stdout) == (0, "nothing was tried yet\n")
    file = tmp_path / "verdict.html"
    first = workbench(home, "research", "verdict", "momentum", *WINDOW, "--html", str(file))
    assert first.returncode in (0, 1), first.stderr
    assert first.stdout.startswith("momentum(lookback=126, top=2): ")
    assert first.returncode == ("UNDERMINED" in first.stdout.splitlines()[0])
    assert file.read_text().startswith("<!DOCTYPE html>")
    monkeypatch.chdir(home)
    with pytest.raises(SystemExit) as left:
        main(["research", "verdict", "momentum", *WINDOW, "--json"])
    again = json.loads(capsys.readouterr().out)
    assert left.value.code == first.returncode
    (row,) = json.loads(workbench(home, "research", "trials", "--json").stdout)
    assert row["trials"] == again["trials"]
    assert (row["strategy"], row["symbols"], row["sweeps"]) == ("momentum", "AAPL GOOG IBM MSFT", 1)
    assert f"{row['trials']} combinations tried" in first.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["verdict", "momentumm"], 64, "no strategy 'momentumm'; did you mean momentum?"),
        (["verdict", "momentum", "-p", "topp=1"], 64, "unknown key 'topp', did you mean top?"),
        (["verdict", "momentum", "-p", "seed=1"], 64, "-p seed: a strategy's parameter of that name"),
        (["lookahead", "momentum", "--symbols", "AAPL,XX"], 65, "no bars of XX in the lake"),
        (["lookahead", "momentum", "--symbols", "AAPL,,IBM"], 64, "names separated by commas"),
        (["lookahead", "momentum", "--from", "2030-01-01"], 65, "no sessions from 2030-01-01 to the last"),
        (["lookahead", "momentum", "--from", "2012-01-03", "--to", "2011-01-03"], 64, "is after --to"),
        (["verdict", "momentum", "--from", "2014-12-01"], 65, "too few for a verdict"),
        (["verdict", "momentum", "--html", "nowhere/a.html"], 64, "there is no folder nowhere"),
    ],
)
def test_bad_input_is_one_line_and_a_documented_exit_code(
    home: Path,
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, because starting one takes longer than the refusal."""
    monkeypatch.chdir(home)
    with pytest.raises(SystemExit) as left:
        main(["research", *arguments])
    told = capsys.readouterr()
    assert (left.value.code, told.out, len(told.err.splitlines())) == (code, "", 1)
    assert message in told.err
