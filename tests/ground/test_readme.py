"""Every command that the README tells a reader to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from workbench.cli.commands import command_line

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def typed(program: str) -> set[tuple[str, ...]]:
    """The words after ``program`` wherever the README shows it as code."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    code = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", README)
    found = set()
    for line in code:
        words = line.removeprefix("$ ").split("#")[0].split()
        if words[:1] == [program]:
            found.add(tuple(words[1:]))
    return found


def test_every_make_command_exists():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    commands = typed("make")
    assert ("demo",) in commands
    assert {words[0] for words in commands if words} <= set(targets)


def test_every_workbench_command_exists():
    commands = typed("workbench")
    assert commands
    for words in commands:
        group = typer.main.get_command(command_line())
        for word in words:
            if not hasattr(group, "commands") or word.startswith("-"):
                break
            assert word in group.commands, f"workbench {' '.join(words)}"
            group = group.commands[word]


def test_every_file_that_is_linked_to_exists():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
