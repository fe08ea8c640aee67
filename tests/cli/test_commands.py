"""Every command is found by its name, and only what is typed is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main
from support.homes import environment

from workbench.cli.commands import MODULES, command_line
from workbench.cli.main import main
from workbench.jobs.kernels import KernelPool


def commands(*arguments: str) -> list[str]:
    group = typer.main.get_command(command_line(arguments))
    return sorted(group.commands)  # type: ignore[attr-defined]  # a group, as it has a callback


@pytest.mark.parametrize("module", MODULES)
def test_a_module_registers_the_names_that_it_is_found_by(module: str) -> None:
    for name in MODULES[module]:
        assert commands(name) == sorted(MODULES[module])


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--version",), ("rnu", "daily")])
def test_anything_else_is_answered_with_every_command_in_mind(arguments: tuple[str, ...]) -> None:
    assert commands(*arguments) == sorted(name for names in MODULES.values() for name in names)


def imported(*arguments: str) -> set[str]:
    code = (
        "import sys\n"
        "from workbench.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, env=environment()
    )
    return set(done.stdout.split())


def test_a_command_imports_no_other() -> None:
    loaded = imported("risk", "--help")
    assert "workbench.cli.risk" in loaded
    assert not {f"workbench.cli.{name}" for name in ("run", "data", "sweep", "schedule", "lab")} & loaded
    assert "workbench.jobs.kernels" not in loaded  # no helper is started for a command that needs no kernel
    assert "workbench.jobs.kernels" not in imported("run", "--help")
    assert "workbench.jobs.kernels" in imported("run", "--no-such-option")


@pytest.mark.parametrize(
    ("trouble", "code", "line"),
    [
        (OSError(28, "No space left on device", "wb-x"), 74, "workbench: wb-x: No space left on device\n"),
        (KeyboardInterrupt(), 143, "workbench: interrupted\n"),
    ],
)
def test_trouble_before_the_command_is_imported_gets_its_line_too(
    trouble: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(_pool: KernelPool) -> None:
        raise trouble

    monkeypatch.setattr(KernelPool, "start", start)
    with pytest.raises(SystemExit) as ended:
        main(["run", "daily"])
    assert (ended.value.code, capsys.readouterr().err) == (code, line)
