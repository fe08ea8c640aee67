"""What ``workbench replay`` says at its end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from workbench.cli.run import describe_replay
from workbench.jobs.runner import RunOutcome


def test_a_replay_counts_the_refusals_of_its_own_runs(
    story: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story.play()
    outcomes = [RunOutcome(run, already_done=False, resumed=False) for run in story.runs.runs(account="paper")]
    outcomes.sort(key=lambda outcome: outcome.run.key.session)
    workbench = SimpleNamespace(
        journal=story.journal, settings=SimpleNamespace(home=tmp_path, tearsheets_dir=tmp_path / "sheets")
    )
    describe_replay(cast(Any, workbench), outcomes)
    assert "  denied   1 orders, see `workbench orders --account paper`\n" in capsys.readouterr().out
    describe_replay(cast(Any, workbench), outcomes[1:])  # the refusal was in the first session
    said = capsys.readouterr().out
    assert f"daily: {len(outcomes) - 1} sessions to 2013-01-30\n" in said
    assert "denied" not in said
    assert "10,883.99 USD at the close of 2013-01-30" in said
