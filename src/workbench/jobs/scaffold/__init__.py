"""Beginnings that work: a notebook, a strategy or a pipeline that passes every check as it is written.

What is there is never overwritten.
"""

from __future__ import annotations

import json
import keyword
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from workbench.errors import ConfigError, ParameterError, WorkbenchError
from workbench.jobs.nbtest.scratch import default_session
from workbench.jobs.nbtest.stored import CHECK, IGNORE
from workbench.jobs.parameters import TAG
from workbench.jobs.pipelines import load_pipeline, pipeline_names
from workbench.settings import Settings

_LONGEST = 32
# Of the sample, for an installation without prices of its own.
_SYMBOLS, _SESSION = ("AAPL", "IBM", "MSFT"), "2013-03-01"
_MOST_SYMBOLS = 5


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The files that were written, and what to do next, a line each."""

    files: tuple[Path, ...]
    then: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell to be written; ``output`` is what it shows, stored because its test compares it."""

    source: str
    tags: tuple[str, ...] = ()
    output: str = ""
    is_text: bool = False


def new_notebook(name: str, settings: Settings) -> Scaffold:
    """A research notebook ``notebooks/NAME.ipynb`` on the installation's prices.

    Raises
    ------
    ConfigError
        If the name cannot be one, or is taken.
    """
    _check_name(name, "notebook", r"[a-z0-9][a-z0-9_-]*", "a-z, 0-9, _ and -, beginning with a letter or digit")
    symbols, session = _market(settings)
    file = settings.notebooks_dir / f"{name}.ipynb"
    _write({file: _notebook(_research(_title(name), symbols, session))})
    return Scaffold(
        (file,),
        (
            "open it: workbench lab",
            f"test it: workbench test notebooks {_shown(file, settings)}",
            f"make it a job: workbench promote {_shown(file, settings)}",
        ),
    )


def new_pipeline(name: str, settings: Settings, *, orders: bool = False) -> Scaffold:
    """A pipeline ``pipelines/NAME.toml`` of one notebook that decides what to hold, and with ``orders`` orders it.

    Raises
    ------
    ConfigError
        If the name cannot be one, or is taken.
    """
    _check_name(name, "pipeline", r"[a-z][a-z0-9_-]*", "a-z, 0-9, _ and -, beginning with a letter")
    symbols, session = _market(settings)
    folder = settings.pipelines_dir
    table, notebook = folder / f"{name}.toml", folder / f"{name}.ipynb"
    words = {
        "name": name, "title": _title(name), "calendar": settings.calendar, "symbols": json.dumps(list(symbols)),
        "orders": str(orders).lower(),
    }  # fmt: skip
    cells = _job(_title(name), symbols, session, orders=orders)
    _write({table: _filled("pipeline.txt", words), notebook: _notebook(cells)})
    return Scaffold(
        (table, notebook),
        (
            "open the notebook: workbench lab",
            f"see its parameters: workbench pipelines inspect {name}",
            f"test and pin it: workbench promote {name}",
            f"run it: workbench run {name}",
        ),
    )


def new_strategy(name: str, settings: Settings) -> Scaffold:
    """A strategy ``src/workbench/strategies/NAME.py`` and its tests.

    Raises
    ------
    ConfigError
        If the name cannot be one or is taken, or the package's sources are not in this folder.
    """
    from workbench import strategies

    _check_name(name, "strategy", r"[a-z][a-z0-9_]*", "a-z, 0-9 and _, beginning with a letter")
    if keyword.iskeyword(name) or name in {"base", "strategy"}:
        raise ConfigError(f"{name!r} cannot be the name of a strategy", hint=f"did you mean {name}_strategy?")
    folder = Path(strategies.__path__[0]).resolve()
    if not folder.is_relative_to(settings.home.resolve()):
        raise ConfigError(
            f"strategies are part of the package, and its sources are not in {settings.home}",
            hint="run it in a clone of the repository, installed with `make venv`",
        )
    tests = settings.home / "tests" / "strategies" / f"test_{name}.py"
    words = {"name": name, "title": _title(name), "model": "".join(part.capitalize() for part in name.split("_"))}
    files = {
        settings.home / folder.relative_to(settings.home.resolve()) / f"{name}.py": _filled("strategy.txt", words),
        tests: _filled("test_strategy.txt", words),
    }
    _write(files)
    return Scaffold(
        tuple(files),
        (
            "write its rule, and work its tests out by hand",
            f"test it: python -m pytest {_shown(tests, settings)}",
            f"run it: workbench run daily -p strategy={name} --allow-dirty --account trial",
        ),
    )


def _check_name(name: str, kind: str, pattern: str, rule: str) -> None:
    if re.fullmatch(pattern, name) and len(name) <= _LONGEST:
        return
    words = re.sub(r"[^a-z0-9]+", "_", name.removesuffix(".ipynb").removesuffix(".py").lower()).strip("_")
    near = (words if re.fullmatch(pattern, words) or not words else f"{kind[0]}_{words}")[:_LONGEST].rstrip("_")
    raise ConfigError(
        f"{name!r} cannot be the name of a {kind}: it is up to {_LONGEST} of {rule}",
        hint=f"did you mean {near}?" if near else "for example mean_reversion",
    )


def _market(settings: Settings) -> tuple[tuple[str, ...], str]:
    """Symbols and a session for a first run: those of a pipeline, else what the lake has, else the sample's."""
    for name in pipeline_names(settings.pipelines_dir):
        try:
            pipeline = load_pipeline(name, settings.pipelines_dir)
            session = default_session(pipeline)
        except (ConfigError, ParameterError):
            continue
        symbols = pipeline.parameters.get("symbols")
        if session and isinstance(symbols, list) and symbols:
            return tuple(str(symbol) for symbol in symbols), session
    return _of_lake(settings) or (_SYMBOLS, _SESSION)


def _of_lake(settings: Settings) -> tuple[tuple[str, ...], str] | None:
    """The latest session of the lake, and symbols that traded in it."""
    if not settings.lake_dir.exists():
        return None
    from workbench.data.lake import Lake

    try:
        with Lake(settings.lake_dir) as lake:
            if lake.is_empty():
                return None
            last = lake.last_session()
            return tuple(lake.traded(last)[:_MOST_SYMBOLS]), last.isoformat()
    except WorkbenchError:
        return None  # the sample's will do for a beginning; `workbench doctor` says what is wrong with the lake


def _title(name: str) -> str:
    return " ".join(re.split(r"[_-]+", re.sub(r"^\d+[_-]+", "", name))).strip().capitalize()


def _research(title: str, symbols: tuple[str, ...], session: str) -> list[Cell]:
    opened = f"wb = workbench.open(session=session)\nbars = wb.bars(symbols)\n{_FACT}"
    return [
        Cell(
            f"# {title}\n\n**Question.** What do you want to know?\n\n**Inputs.** Total-return bars up to the session."
            "\n\n**Outputs.** A picture and a table. Nothing is stored.\n\n**Places orders:** no",
            is_text=True,
        ),
        Cell(_parameters(symbols, session, "str") + "\nshown: int = 250  # sessions in the picture", (TAG,)),
        Cell("import matplotlib.pyplot as plt\n\nimport workbench"),
        Cell("Bars as they were known at the close of the session; nothing later can be seen.", is_text=True),
        Cell(opened, (CHECK,), _fact(symbols, session)),
        Cell("What one dollar became. A sentence says what to look for, the cell shows it.", is_text=True),
        Cell(
            "close = bars.close.tail(shown)\n"
            "growth = close / close.bfill().iloc[0]\n"
            "figure, axes = plt.subplots(figsize=(8, 3), layout=\"constrained\")\n"
            "axes.plot(growth.index, growth, label=list(growth))\n"
            "axes.set(title=\"Growth of one dollar\", ylabel=\"USD\")\n"
            "axes.legend(frameon=False)\n"
            "plt.show()"
        ),
        Cell("What the reader relies on is asserted, and the numbers are shown.", is_text=True),
        Cell("assert (close.stack() > 0).all()\ngrowth.iloc[-1].rename(\"growth\").sort_values().round(3).to_frame()"),
        Cell("**Conclusion.** What did you learn, and what follows from it?", is_text=True),
    ]  # fmt: skip


def _job(title: str, symbols: tuple[str, ...], session: str, *, orders: bool) -> list[Cell]:
    outputs = "Order intents in the journal, and the gateway's answers" if orders else "Target weights and a plan"
    cells = [
        Cell(
            f"# {title}\n\n**Question.** What should the account hold after this session?\n\n**Inputs.** Bars up to the"
            f" session's close, the account as the gateway left it.\n\n**Outputs.** {outputs}.\n\n"
            f"**Places orders:** {'yes' if orders else 'no'}",
            is_text=True,
        ),
        Cell(
            _parameters(symbols, session, '"date"')
            + '\nstrategy: str = "momentum"  # a file in src/workbench/strategies\n'
            'strategy_parameters: dict[str, float] = {"lookback": 126, "top": 2}  # the strategy\'s own',
            (TAG,),
        ),
        Cell("import workbench\n\nwb = workbench.open(session=session)"),
        Cell("Total-return bars up to the session; nothing later can be seen.", is_text=True),
        Cell("bars = wb.bars(symbols)\n" + _FACT, (CHECK,), _fact(symbols, session)),
        Cell("The strategy's target weights, decided on the close of this session.", is_text=True),
        Cell(
            "model = wb.strategy(strategy, **strategy_parameters)\nweights = model.weights(bars).iloc[-1]\n"
            'weights.rename("weight").to_frame()'
        ),
        Cell("What it takes to get there from what the account holds.", is_text=True),
        Cell("plan = wb.plan(strategy, weights, wb.snapshot())\nplan.to_frame()", (IGNORE,)),
    ]
    if orders:
        cells += [
            Cell("Hand the intents to the gateway and wait. Opened by hand, this is a dry run.", is_text=True),
            Cell("outcome = wb.propose(plan)\noutcome.to_frame()", (IGNORE,)),
            Cell("Every intent has an answer; none is in doubt.", is_text=True),
            Cell('assert outcome.settled, "see `workbench orders`"\nlen(outcome.orders)', (IGNORE,)),
        ]
    return [*cells, Cell("**Conclusion.** What the numbers above mean for the next session.", is_text=True)]


_FACT = 'f"{len(bars.symbols)} symbols up to {bars.sessions[-1]:%Y-%m-%d}"'


def _fact(symbols: tuple[str, ...], session: str) -> str:
    """What the cell above shows; the test compares it."""
    return f"'{len(symbols)} symbols up to {session}'"


def _parameters(symbols: tuple[str, ...], session: str, kind: str) -> str:
    return (
        f'session: {kind} = "{session}"  # the session whose close is decided on\n'
        f"symbols: list[str] = {json.dumps(list(symbols))}  # the universe"
    )


def _notebook(cells: list[Cell]) -> str:
    """The cells as a notebook file, written as JupyterLab would."""
    written: list[dict[str, Any]] = []
    count = 0
    for number, cell in enumerate(cells):
        lines = cell.source.splitlines(keepends=True)
        kind = "markdown" if cell.is_text else "code"
        made: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": lines}
        if not cell.is_text:
            count += 1
            made["metadata"] = {"tags": list(cell.tags)} if cell.tags else {}
            made |= {"execution_count": count if cell.output else None, "outputs": _outputs(cell.output, count)}
        written.append(made)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    content = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _outputs(text: str, count: int) -> list[dict[str, Any]]:
    if not text:
        return []
    data = {"text/plain": [text]}
    return [{"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}}]


def _filled(template: str, words: Mapping[str, str]) -> str:
    text = resources.files("workbench.jobs.scaffold").joinpath("templates", template).read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _write(files: Mapping[Path, str]) -> None:
    """Write all of them or none; a file that is there stays as it is."""
    for file in files:
        if file.exists():
            raise ConfigError(f"{file} exists already", hint="choose another name; nothing was written")
    written: list[Path] = []
    try:
        for file, text in files.items():
            _create(file, text)
            written.append(file)
    except BaseException:
        for file in written:
            file.unlink()
        raise


def _create(file: Path, text: str) -> None:
    """A new file, whole or not at all, even if somebody else makes one of that name meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.link(part, file)
    except FileExistsError as error:
        raise ConfigError(f"{file} exists already", hint="choose another name; nothing was written") from error
    finally:
        part.unlink(missing_ok=True)


def _shown(file: Path, settings: Settings) -> str:
    return file.relative_to(settings.home).as_posix() if file.is_relative_to(settings.home) else str(file)
