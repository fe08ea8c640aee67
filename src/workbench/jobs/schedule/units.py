"""What keeps the scheduler alive on one machine: a systemd unit, or lines for a crontab."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import ConfigError

UNIT = "workbench-scheduler.service"


def systemd_unit(command: Sequence[str], home: Path, config: Path, *, user: str | None = None) -> str:
    """The unit that runs the daemon, and starts it again whatever ends it; a mended configuration is found that way.

    Parameters
    ----------
    command
        What starts the daemon, the program by its absolute path.
    user
        Who a unit of the whole system runs as; None is a unit of the user who installs it.

    Raises
    ------
    ConfigError
        If a path cannot be written on one line.
    """
    _require_plain(home, config)
    lines = [
        "[Unit]",
        f"Description=Workbench scheduler of {_specifiers(str(home))}",
        "After=network-online.target time-sync.target",
        "Wants=network-online.target",
        "# It is never given up: a trading day must not end because of five crashes in a row.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        *([f"User={user}"] if user else []),
        f"WorkingDirectory={_specifiers(str(home))}",
        f"Environment={_quoted(f'WORKBENCH_CONFIG={config}')}",
        "Environment=PYTHONUNBUFFERED=1",
        "# The keys of a real broker belong into a file that only you can read:",
        "# EnvironmentFile=%h/.config/workbench/keys",
        f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in command)}",
        "Restart=always",
        "RestartSec=10",
        "# It was asked to stop, and a job was cut short by that.",
        "SuccessExitStatus=143",
        "# SIGTERM goes to the daemon alone, which lets running jobs end cleanly; what is left after that is killed.",
        "KillMode=mixed",
        "TimeoutStopSec=120",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if user else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


def crontab(command: Sequence[str], home: Path, config: Path, log: Path) -> str:
    """Lines that start the daemon with the machine, and again within five minutes if it has ended.

    One that finds another at work ends at once, so the second line does nothing while all is well. The daemon has a
    log of its own; ``log`` gets what it complains of before it can write that.
    """
    _require_plain(home, config, log)
    start = f"WORKBENCH_CONFIG={shlex.quote(str(config))} {shlex.join(command)} >/dev/null 2>>{shlex.quote(str(log))}"
    folders = f"cd {shlex.quote(str(home))} && mkdir -p {shlex.quote(str(log.parent))}"
    line = f"{folders} && {start}".replace("%", r"\%")
    return f"# Workbench scheduler of {home}\n@reboot {line}\n*/5 * * * * {line}\n"


def _require_plain(*paths: Path) -> None:
    for path in paths:
        if not str(path).isprintable():
            raise ConfigError(f"{str(path)!r} cannot be named in a unit or a crontab", hint="move the folder")


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """A word of a unit file, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_specifiers(escaped)}"'
