"""A run remembers which commit it ran from, and whether files that git knows were different."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from workbench.jobs.provenance import provenance


def git(folder: Path, *arguments: str) -> str:
    named = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=os.environ | named, check=True, capture_output=True, text=True).stdout.strip()


def facts(home: Path) -> tuple[object, object]:
    found = provenance(home, {})
    return found["git_commit"], found["git_dirty"]


def test_commit_and_changes_are_those_of_the_folder_around_it(tmp_path: Path) -> None:
    home = tmp_path / "repository" / "home"
    home.mkdir(parents=True)
    assert facts(home) == (None, None)  # no repository
    git(home.parent, "init")
    (home / "a.py").write_text("a = 1\n")
    assert facts(home) == (None, False)  # no commit yet, and a file that git does not know
    git(home.parent, "add", ".")
    git(home.parent, "commit", "-m", "first")
    commit = git(home.parent, "rev-parse", "HEAD")
    assert facts(home) == (commit, False)
    (home / "a.py").write_text("a = 2\n")
    assert facts(home) == (commit, True)
    git(home.parent, "checkout", "--detach", "-f")
    assert facts(home) == (commit, False)
    (home / "# new.py").write_text("")
    git(home.parent, "add", ".")
    assert facts(home) == (commit, True)
