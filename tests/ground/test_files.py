"""What is committed works on any machine: no path, host or leftover of the one it was written on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = (".ci", "benchmarks", "docs", "notebooks", "pipelines", "src", "tests", "data/sample")
SUFFIXES = {
    "",
    ".py",
    ".md",
    ".toml",
    ".yml",
    ".lock",
    ".ipynb",
    ".html",
    ".css",
    ".j2",
    ".json",
    ".sql",
    ".txt",
}
# A home, a scratch folder, or an installed package, as a path from the root of some machine; in notebooks
# a backslash may precede the slash. "/tmp" and the like in prose stand alone and are fine.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|work|tmp|private|var/folders)/[\w.-]+/?[\w./-]*")


EXAMPLES = {"/home/ada/prices.csv", "/home/ada"}


def committed() -> Iterator[Path]:
    """What is or will be; a worktree's ``.git`` is a file, and says where its repository is."""
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.suffix in SUFFIXES and path.name != ".git")
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = any(part in {"__pycache__", ".ipynb_checkpoints"} for part in path.parts)
            if path.is_file() and path.suffix in SUFFIXES and not hidden and path.name != "latest.json":
                yield path


def test_no_file_names_a_path_of_one_machine():
    found = {}
    for path in committed():
        text = path.read_text(encoding="utf-8", errors="replace")
        hits = (set(MACHINE_PATH.findall(text)) - EXAMPLES) | ({str(ROOT)} if str(ROOT) in text else set())
        if hits:
            found[str(path.relative_to(ROOT))] = sorted(hits)
    assert found == {}


def test_notebooks_are_stored_with_outputs_and_without_errors():
    import nbformat

    for path in [*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("pipelines/**/*.ipynb")]:
        notebook = nbformat.read(path, as_version=4)
        outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
        assert not [o for o in outputs if o.output_type == "error"], path.name
        assert not [o for o in outputs if o.get("name") == "stderr"], path.name
        if path.parent.name == "notebooks":
            assert outputs, f"{path.name} has no stored outputs to read"


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_keeps_a_section_for_what_is_not_released():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]$", text, flags=re.MULTILINE)
