"""Run the benchmarks: every ``bench_NAME.py`` beside this file, or one of them with ``--name NAME``.

Each has ``run() -> list[Measurement]`` and measures its peer or limit in the same run, because absolute
times do not hold across machines. The table goes to the screen, the numbers to ``latest.json``. A missed bar
is marked, and is not a failure of the run; a benchmark that cannot run is.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from measurement import Measurement, write
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    names = sorted(file.stem.removeprefix("bench_") for file in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Workbench against its bars.")
    parser.add_argument("--name", choices=names, help="run only this one")
    parser.add_argument("--output", type=Path, default=HERE / "latest.json", help="where the numbers go")
    options = parser.parse_args(arguments)
    console = Console()
    measurements: list[Measurement] = []
    failed: list[str] = []
    for name in [options.name] if options.name else names:
        with console.status(f"measuring {name}"):
            try:
                measurements += importlib.import_module(f"bench_{name}").run()
            except Exception as error:  # whatever a benchmark raises, the others still run
                failed.append(f"{name}: {describe(error)}")
    console.print(table(measurements))
    write(measurements, options.output)
    missed = sum(not m.holds for m in measurements)
    bars = sum(m.bar is not None for m in measurements)
    console.print(f"{bars - missed} of {bars} bars hold")
    for line in failed:
        print(f"could not run {line}", file=sys.stderr)
    return 1 if failed else 0


def table(measurements: Sequence[Measurement]) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("measured")
    shown.add_column("value", justify="right")
    shown.add_column("unit")
    shown.add_column("bar", justify="right")
    shown.add_column("")
    for m in measurements:
        bar = "" if m.bar is None else f"{m.bar:g}"
        verdict = "" if m.bar is None else ("holds" if m.holds else "[bold red]missed[/]")
        shown.add_row(m.name, f"{m.value:,.3g}" if m.value < 1000 else f"{m.value:,.0f}", m.unit, bar, verdict)
    return shown


def describe(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        return f"{' '.join(map(str, error.cmd))} ended with {error.returncode}: {said[-1] if said else ''}"
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
