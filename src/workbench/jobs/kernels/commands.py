"""Shell commands of a notebook (``!command``, ``x = !command``, ``%sx``) that fail where they fail.

IPython puts the exit code into a variable that nobody reads, swallows an interruption, so that the cell goes on
after it, and keeps all that a command prints in memory.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
from typing import Any

_PIPE_BYTES = 1 << 16


def install(shell: Any) -> None:
    """Run the commands of this IPython shell so that an exit code other than 0 raises CalledProcessError.

    ``!command || true`` is for commands that may fail.
    """

    def system(command: str) -> None:
        expanded = shell.var_expand(command, depth=1)  # with the variables of the calling frame
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        with _started(expanded) as process:
            assert process.stdout is not None
            while data := process.stdout.read(_PIPE_BYTES):
                sys.stdout.write(decoder.decode(data))
        _check(shell, process.returncode, command)

    def getoutput(command: str, split: bool = True, depth: int = 0) -> Any:
        expanded = shell.var_expand(command, depth=depth + 1)
        with _started(expanded) as process:
            data, _ = process.communicate()
        _check(shell, process.returncode, command)
        text = data.decode(errors="replace").replace("\r\n", "\n")
        return _list(text.splitlines()) if split else _string(text)

    shell.system = system
    shell.getoutput = getoutput


def _started(command: str) -> subprocess.Popen[bytes]:
    if command.rstrip().endswith("&"):
        raise OSError("a notebook starts no background processes: they would outlive its cells")
    sys.stdout.flush()
    sys.stderr.flush()
    return subprocess.Popen(
        command,
        shell=True,
        executable=os.environ.get("SHELL") if os.name == "posix" else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )


def _check(shell: Any, code: int, command: str) -> None:
    shell.user_ns["_exit_code"] = code
    if code:
        raise subprocess.CalledProcessError(code, command.strip())


def _list(lines: list[str]) -> Any:
    from IPython.utils.text import SList

    return SList(lines)


def _string(text: str) -> Any:
    from IPython.utils.text import LSString

    return LSString(text)
