"""What is installed: Python, packages, engines, DuckDB's extensions, kernel, JupyterLab, credentials, calendar."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from pathlib import Path

from workbench.calendars import calendar as read_calendar
from workbench.errors import ConfigError
from workbench.ops.doctor.check import Check, Patient

INSTALL = "run `make venv`"
# The packages that the product is built around, by the name they are imported under.
PACKAGES = (
    "alpaca_trade_api", "duckdb", "jupyterlab", "nbval", "numpy", "pandas", "papermill", "pytest", "sklearn",
    "tensorflow", "vectorbt", "zipline",
)  # fmt: skip
# What is imported for real: compiled code that can be installed and still not load.
ENGINES = ("tensorflow", "vectorbt", "zipline", "sklearn", "alpaca_trade_api")
# Who loads them in DuckDB: see workbench.data._ducklake.
EXTENSIONS = ("sqlite_scanner", "ducklake")
_ENGINE_TIMEOUT_S = 180.0
_LAB_TIMEOUT_S = 2.0
_CALENDAR_DAYS = 60
_KERNEL = "python3"


def python(patient: Patient) -> Iterator[Check]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    well = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Check("python", "ok" if well else "fail", version, "" if well else "use Python 3.11 or 3.12")


def packages(patient: Patient) -> Iterator[Check]:
    """Are they installed? Whether they load is another check's business."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        yield Check("packages", "fail", f"not installed: {', '.join(missing)}", INSTALL)
    else:
        yield Check("packages", "ok", f"{len(PACKAGES)} packages installed")


def lock(patient: Patient) -> Iterator[Check]:
    """Do the installed versions agree with the lock?"""
    file = patient.settings.home / "requirements.lock"
    if not file.is_file():
        yield Check("lock", "warn", "no requirements.lock here", "run workbench in its own checkout")
        return
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    wanted: dict[str, set[str]] = {}
    for name, version in locked:
        wanted.setdefault(_canonical(name), set()).add(version)
    installed = {_canonical(d.metadata["Name"]): d.version for d in _distributions()}
    wrong = [f"{n} {installed[n]}" for n, versions in wanted.items() if n in installed and installed[n] not in versions]
    if wrong:
        yield Check("lock", "warn", f"other versions than locked: {', '.join(sorted(wrong)[:5])}", INSTALL)
    else:
        yield Check("lock", "ok", f"{len(wanted)} packages agree with requirements.lock")


def engines(patient: Patient) -> Iterator[Check]:
    """Does each engine load? Each in a process of its own, two at a time: it takes ten seconds, and leaves nothing."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(_import, ENGINES))
    broken = [f"{name}: {why}" for name, why in zip(ENGINES, answers, strict=True) if why]
    for words in broken:
        yield Check("engines", "fail", words[:300], INSTALL)
    if not broken:
        yield Check("engines", "ok", f"{', '.join(ENGINES)} load")


def extensions(patient: Patient) -> Iterator[Check]:
    """Are DuckDB's extensions there for this version of it, and do they load?"""
    import duckdb

    from workbench.data._ducklake import extension_file

    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        for name in EXTENSIONS:
            file = extension_file(name, duckdb.__version__)
            try:
                connection.execute(f"LOAD '{file}'")
            except duckdb.Error as error:
                yield Check("extensions", "fail", f"{name}: {str(error).splitlines()[0]}", INSTALL)
                return
    yield Check("extensions", "ok", f"{', '.join(EXTENSIONS)} for DuckDB {duckdb.__version__}")


def calendar(patient: Patient) -> Iterator[Check]:
    exchange = read_calendar(patient.settings.calendar, patient.settings.cache_dir)
    days = (exchange.last - patient.clock.now().date()).days
    if days < _CALENDAR_DAYS:
        yield Check("calendar", "warn", f"{exchange.name} ends {exchange.last}", "update exchange-calendars")
    else:
        yield Check("calendar", "ok", f"{exchange.name} to {exchange.last}")


def credentials(patient: Patient) -> Iterator[Check]:
    """Are the keys of the configured broker there? They are never shown."""
    from workbench.brokers.alpaca.access import KEY_VARIABLE, SECRET_VARIABLE, require_allowed
    from workbench.brokers.alpaca.access import credentials as read_credentials

    account = patient.settings.account
    if account.broker == "paper":
        yield Check("credentials", "ok", "the paper exchange needs none")
        return
    try:
        require_allowed(patient.settings.alpaca, account.name)
        read_credentials(patient.env)
    except ConfigError as error:
        yield Check("credentials", "fail", error.message, error.hint or "")
        return
    yield Check("credentials", "ok", f"{KEY_VARIABLE} and {SECRET_VARIABLE} are set")


def kernel(patient: Patient) -> Iterator[Check]:
    """Does the notebook's kernel exist, and is it this environment's? A kernel in the home folder would come first."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    fix = f"{Path(sys.executable).name} -m ipykernel install --sys-prefix, and remove the other one"
    try:
        spec = KernelSpecManager().get_kernel_spec(_KERNEL)
    except NoSuchKernel:
        yield Check("kernel", "fail", f"JupyterLab knows no kernel {_KERNEL}", fix)
        return
    program = spec.argv[0]
    # Jupyter starts a bare "python" with its own interpreter.
    ours = re.fullmatch(r"python(3(\.\d+)?)?", program) is not None or _same(program, sys.executable)
    if ours:
        yield Check("kernel", "ok", f"{_KERNEL} is this environment's")
    else:
        yield Check("kernel", "fail", f"{_KERNEL} starts {program}, another environment ({spec.resource_dir})", fix)


def lab(patient: Patient) -> Iterator[Check]:
    """Does a JupyterLab that is said to run on this installation answer?"""
    from jupyter_core.paths import jupyter_runtime_dir

    answering = 0
    for server in _servers(Path(jupyter_runtime_dir()), patient.settings.home):
        url = f"{server['url']}api/status"
        request = urllib.request.Request(url, headers={"Authorization": f"token {server.get('token', '')}"})
        try:
            # Straight to it: a proxy of the environment is for other hosts.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_LAB_TIMEOUT_S):
                answering += 1
        except OSError as error:
            words = f"JupyterLab (process {server['pid']}) does not answer at {server['url']}: {error}"
            yield Check("lab", "fail", words, f"end process {server['pid']}, and start `workbench lab` again")
    if not answering:
        yield Check("lab", "ok", "no JupyterLab answers here; `workbench lab` starts one")
    else:
        yield Check("lab", "ok", f"{answering} running")


def _servers(runtime: Path, home: Path) -> Iterator[dict[str, str]]:
    """Jupyter servers of living processes whose root is this installation."""
    import psutil

    for file in sorted(runtime.glob("jpserver-*.json")):
        try:
            server = json.loads(file.read_text(encoding="utf-8"))
            root = Path(server["root_dir"])
            here = root == home or root.resolve() == home.resolve()
            if here and psutil.pid_exists(int(server["pid"])):
                yield server
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another program's file, or one that is being written


def _import(name: str) -> str:
    """Why a module does not load; empty if it does."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"import {name}"], env=env, capture_output=True, text=True, check=False,
            timeout=_ENGINE_TIMEOUT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"did not load in {_ENGINE_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"its process was killed by signal {-done.returncode}"
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


def _same(program: str, other: str) -> bool:
    """Whether two names are one interpreter of one environment; links are what tells environments apart."""
    found = shutil.which(program)
    return found is not None and os.path.abspath(found) == os.path.abspath(other)


def _distributions() -> Iterator[Distribution]:
    return (d for d in importlib.metadata.distributions() if d.metadata["Name"])


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
