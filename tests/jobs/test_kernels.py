"""Kernels come ready, see no secret, and never outlive whoever asked for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from workbench.errors import JobError, KernelDied
from workbench.jobs.engine import execute, imports_without, warm_up
from workbench.jobs.kernels import KernelPool, kernel_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")

_RUNNER = """
import sys
from pathlib import Path
from workbench.jobs.engine import execute
from workbench.jobs.kernels import KernelPool

pool = KernelPool(preload=(), calendars=())
pool.start()
print(pool.folder, flush=True)
notebook, output, pids = sys.argv[1:]
execute(Path(notebook), Path(output), {"pids": pids, "then": "wait"}, pool=pool)
"""


def test_sigkill_of_the_runner_takes_kernel_and_grandchildren_along(fixtures, tmp_path, wait_for, is_alive):
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", _RUNNER, str(fixtures / "grandchild.ipynb"), str(tmp_path / "o.ipynb"), str(pids)]
    source = str(Path(__file__).parent.parent.parent / "src")
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE, text=True
    ) as runner:
        try:
            assert runner.stdout is not None
            folder = Path(runner.stdout.readline().strip())
            wait_for(pids.exists)
            helpers = [process.pid for process in psutil.Process(runner.pid).children(recursive=True)]
        finally:
            runner.kill()
    family = {*helpers, *(int(pid) for pid in pids.read_text().split())}
    assert len(family) == 5  # guard, zygote, kernel, its child, its daemon
    wait_for(lambda: not any(is_alive(pid) for pid in family))
    wait_for(lambda: not folder.exists())


@pytest.mark.parametrize("victim", ["guard", "zygote"])
def test_sigkill_of_the_helper_is_a_dead_kernel_and_leaves_nothing(victim, fixtures, tmp_path, wait_for, is_alive):
    pids = tmp_path / "pids"
    family: list[int] = []
    others = set(psutil.Process().children())
    with KernelPool(preload=(), calendars=()) as pool:
        (guard,) = set(psutil.Process().children()) - others

        def kill() -> None:
            wait_for(pids.exists)
            family.extend(int(pid) for pid in pids.read_text().split())
            (zygote,) = guard.children()
            family.append(zygote.pid)
            (guard if victim == "guard" else zygote).kill()

        thread = threading.Thread(target=kill)
        thread.start()
        # The file is written in cell 4: it can be seen before the runner has heard that the cell is done.
        with pytest.raises(KernelDied, match=r"cell \[[45]\]"):
            execute(
                fixtures / "grandchild.ipynb",
                tmp_path / "out.ipynb",
                {"pids": str(pids), "then": "wait"},
                pool=pool,
            )
        thread.join()
    assert len(family) == 4  # zygote, kernel, its child, its daemon
    if victim == "guard":  # which is what the pool waits for
        wait_for(lambda: not any(is_alive(pid) for pid in family))
    assert not [pid for pid in family if is_alive(pid)]


def test_a_machine_that_takes_no_more_processes_is_an_error_of_one_kernel(fixtures, tmp_path, monkeypatch):
    (tmp_path / "full.py").write_text(
        "import os\nfork, asked = os.fork, []\ndef limited():\n    asked.append(1)\n"
        "    if len(asked) == 1: raise BlockingIOError(11, 'Resource temporarily unavailable')\n    return fork()\n"
        "os.fork = limited\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with KernelPool(preload=("full",), calendars=()) as pool:
        with pytest.raises(JobError, match=r"^no kernel: it failed while starting: .*temporarily unavailable"):
            execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool)
        execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool)


def test_closing_a_pool_leaves_no_process_and_no_file(wait_for, is_alive):
    others = set(psutil.Process().children(recursive=True))
    pool = KernelPool(preload=(), calendars=())
    pool.prestart(2)
    folder = pool.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    wait_for(lambda: len(list(folder.glob("k*.log"))) == 2)  # both kernels are there
    family = set(psutil.Process().children(recursive=True)) - others
    assert len(family) == 4  # guard, zygote, two kernels
    pool.close()
    assert not folder.exists()
    assert not [process for process in family if is_alive(process.pid)]


def test_a_pool_that_is_let_go_ends_beside_its_owner_and_begins_anew_if_wanted(fixtures, tmp_path, wait_for, is_alive):
    others = set(psutil.Process().children(recursive=True))
    with KernelPool(preload=(), calendars=()) as pool:
        pool.prestart(1)
        folder = pool.folder
        wait_for(lambda: any(folder.glob("k*.log")))
        family = set(psutil.Process().children(recursive=True)) - others
        assert len(family) == 3  # guard, zygote, kernel
        pool.let_go()
        wait_for(lambda: not [process for process in family if is_alive(process.pid)])
        execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool)
        assert pool.folder != folder
    assert set(psutil.Process().children(recursive=True)) == others


def test_a_spare_kernel_is_used_and_a_dead_one_is_not(fixtures, tmp_path):
    with KernelPool(preload=(), calendars=()) as pool:
        pool.prestart(2)
        dead, alive = pool._spares
        dead.close()
        assert pool.take() is alive
        alive.close()
        execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool)


def test_secrets_of_the_runner_do_not_reach_a_kernel(fixtures, tmp_path, outputs):
    canary = "canary-5f1c"
    env = {**os.environ, "APCA_API_SECRET_KEY": canary, "DB_URL": f"postgres://ada:{canary}@host/db", "PLAIN": "seen"}
    with KernelPool(preload=(), calendars=(), env=env) as pool:
        execute(fixtures / "surroundings.ipynb", tmp_path / "out.ipynb", {}, pool=pool, env={"WORKBENCH_STEP": "s"})
    shown = outputs(tmp_path / "out.ipynb")
    about = json.loads(shown)
    assert canary not in shown
    assert about["env"]["PLAIN"] == "seen"
    assert about["env"]["WORKBENCH_STEP"] == "s"


def test_a_kernel_is_the_runners_interpreter_in_a_session_of_its_own(pool, fixtures, tmp_path, outputs):
    # The notebook's own kernelspec, "no-such-kernel", is not installed anywhere.
    execute(fixtures / "surroundings.ipynb", tmp_path / "out.ipynb", {}, pool=pool, cwd=tmp_path)
    about = json.loads(outputs(tmp_path / "out.ipynb"))
    assert about["python"] == sys.executable
    assert about["cwd"] == str(tmp_path)
    assert about["session"] != os.getsid(0)  # a Ctrl-C on the terminal does not reach it


def test_two_kernels_draw_different_random_numbers(pool, fixtures, tmp_path, outputs):
    for name in ("a", "b"):
        execute(fixtures / "random.ipynb", tmp_path / f"{name}.ipynb", {}, pool=pool)
    first, second = (outputs(tmp_path / f"{name}.ipynb").split() for name in ("a", "b"))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_a_plain_nbclient_drives_a_kernel_of_the_pool(pool, fixtures):
    warm_up()
    import nbformat
    from nbclient import NotebookClient

    nb = nbformat.read(fixtures / "ok.ipynb", as_version=4)
    NotebookClient(nb, km=pool.manager()).execute(cleanup_kc=True)
    assert nb.cells[-1].outputs[0].text == "AAPL 2 nobody\n"


def test_the_values_of_cells_are_kept_as_a_plain_nbclient_keeps_them(pool, tmp_path):
    warm_up()
    import nbformat
    from nbclient import NotebookClient

    show = "class Shown:\n    def _repr_mimebundle_(self, include, exclude):\n        return {}\nShown()"
    bundles = [
        {"text/plain": "a", "text/html": "<b>"},
        {"application/json": {"a": [1]}, "text/plain": "a"},
        ({"text/plain": "a", "text/html": "<b>"}, {"text/html": {"isolated": True}}),
    ]
    code = ["1", "'text'", "None", "[1, 2];", *(show.format(repr(bundle)) for bundle in bundles)]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    nbformat.write(nb, tmp_path / "in.ipynb")
    execute(tmp_path / "in.ipynb", tmp_path / "out.ipynb", {}, pool=pool)
    NotebookClient(nb, km=pool.manager()).execute(cleanup_kc=True)
    kept = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    nbformat.validate(kept)
    shown = [cell.outputs for cell in kept.cells if cell.cell_type == "code"]
    assert shown == [cell.outputs for cell in nb.cells]
    assert [len(outputs) for outputs in shown] == [1, 1, 0, 0, 1, 1, 1]


def test_a_long_temporary_folder_does_not_break_the_sockets(fixtures, tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with KernelPool(preload=(), calendars=()) as pool:
        execute(fixtures / "no_tag.ipynb", tmp_path / "out.ipynb", {}, pool=pool)
    assert not list(deep.iterdir())


@pytest.mark.parametrize(
    "name",
    ["APCA_API_KEY_ID", "AWS_PROFILE", "BROKER_SECRET", "GH_TOKEN", "DB_PASSWORD", "SIGNING_KEY", "ssh_auth_sock"],
)
def test_a_variable_that_looks_like_a_credential_is_taken_out(name):
    assert kernel_environment({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("name", ["HOME", "PWD", "KEYBOARD", "WORKBENCH_CONFIG", "MONKEY_NAME", "LANG"])
def test_an_ordinary_variable_stays(name):
    assert kernel_environment({name: "https://example.org/a:b@c"}) == {name: "https://example.org/a:b@c"}


def test_a_module_is_hidden_only_while_others_are_imported():
    with imports_without("workbench_no_such_module"), pytest.raises(ModuleNotFoundError, match=r"None in sys\.modules"):
        import workbench_no_such_module  # noqa: F401
    assert "workbench_no_such_module" not in sys.modules
    with imports_without("json"):
        import json as loaded

        assert loaded is json  # what is loaded already stays


def test_the_runners_imports_leave_the_slow_grammar_out():
    # importing rfc3987_syntax compiles a grammar for about a second; see imports_without
    code = "import sys; from workbench.jobs.engine import warm_up; warm_up(); print('rfc3987_syntax' in sys.modules)"
    source = str(Path(__file__).parent.parent.parent / "src")
    env = {**os.environ, "PYTHONPATH": source}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_signal_to_a_kernel_that_has_ended_does_nothing(pool):
    kernel = pool.take()
    kernel.close()
    kernel.signal(signal.SIGINT)
    assert kernel.poll() == -signal.SIGKILL
