"""Machine code that is kept: where it lies, how it is known to be whole and right, and how it becomes a function.

A file is a checksum, a line of JSON and an object file. Its name has the function, what the code is made of, and what
else it depends on; so what was made by another version, for other types or on another processor is not even opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from workbench.compiling.loop import Loop

_LETTERS = 16  # of a digest in the name of a file
_engines: list[Any] = []  # they own the code


class Made(NamedTuple):
    """Machine code of one function: an object file, the name of the function in it, and what it returns."""

    code: bytes
    name: str
    returns: str


def find(loop: Loop, types: str) -> Made | None:
    """The code for arguments of these types, if it was kept and is whole."""
    found = (_read(folder / _name(loop, types)) for folder in _folders(loop))
    return next((made for made in found if made is not None), None)


def keep(loop: Loop, types: str, made: Made) -> None:
    """Keep code in the first place that can be written, instead of what was there of the same function."""
    for folder in _folders(loop):
        try:
            _write(folder, _name(loop, types), made)
        except OSError:  # nothing can be kept there: the next place
            continue
        for old in folder.glob(f"{_stem(loop)}-*"):
            if not old.name.startswith(_start(loop)):
                old.unlink(missing_ok=True)
        break


def load(made: Made) -> int:
    """The address of code that can run.

    Asking for it resolves and protects what was added. That the engine "finalizes" would compile its own module too,
    which is empty: a compiler of 6 MB for nothing.
    """
    from llvmlite import binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(made.code))
    _engines.append(engine)
    return int(engine.get_function_address(made.name))


def _machine() -> Any:
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(jit=True)


def _write(folder: Path, name: str, made: Made) -> None:
    """Put a file into its place as a whole: another process sees all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps([made.name, made.returns]).encode() + b"\n" + made.code
    temporary = folder / f".{os.getpid()}.{name}"
    try:
        temporary.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> Made | None:
    """None where there is no such file, or one that is not whole."""
    try:
        sha256, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != sha256:
        return None
    about, _, code = content.partition(b"\n")
    return Made(code, *json.loads(about))


def _folders(loop: Loop) -> Iterator[Path]:
    """Where numba would keep it: the folder that is set, or beside the source, or the user's."""
    source = Path(loop.function.__code__.co_filename).resolve()
    below = f"{source.parent.name}_{hashlib.sha256(str(source.parent).encode()).hexdigest()[:_LETTERS]}"
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen) / below
    else:
        yield source.parent / "__pycache__"
    yield _users() / below


def _users() -> Path:
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "workbench"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "workbench" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "workbench"


def _stem(loop: Loop) -> str:
    return (
        f"{Path(loop.function.__code__.co_filename).stem}.{loop.function.__qualname__}.{sys.implementation.cache_tag}"
    )


def _start(loop: Loop) -> str:
    return f"{_stem(loop)}-{loop.digest[:_LETTERS]}-"


def _name(loop: Loop, types: str) -> str:
    depends = hashlib.sha256(f"{types}\n{_here()}".encode()).hexdigest()
    return f"{_start(loop)}{depends[:_LETTERS]}.code"


@cache
def _here() -> str:
    """All that code depends on besides its source and its types."""
    import numpy as np
    from llvmlite import binding as llvm

    settings = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return "\n".join([
        platform.system(), platform.machine(), sys.version, np.__version__, version("numba"), version("llvmlite"),
        llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(),
        *(one for one in settings if not one.startswith("NUMBA_CACHE_DIR=")), _own_code(),
    ])  # fmt: skip


def _own_code() -> str:
    """How the code is made and called is written in this package."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\n".join(file.read_bytes() for file in files)).hexdigest()
