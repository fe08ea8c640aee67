"""Graphics cards: what NVIDIA's management library (NVML) says, and which of them TensorFlow can use."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.hardware.reading import command

_DEVICES = "import json, tensorflow as tf;print(json.dumps([d.name for d in tf.config.list_physical_devices('GPU')]))"
_ASK_NVML = "import sys; from workbench.hardware.gpu import main; main()"
_NAME_BYTES = 96  # NVML_DEVICE_NAME_V2_BUFFER_SIZE
_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA card as its driver reports it; memory in bytes, None where the driver does not say."""

    name: str
    memory_bytes: int | None
    driver: str
    memory_free_bytes: int | None = None
    temperature_c: float | None = None


def read_gpus(timeout_s: float = 5.0) -> tuple[Gpu, ...] | None:
    """NVIDIA cards, asked in a child process because a broken driver may hang; None without a driver that answers.

    The library NVML is asked first, then its command ``nvidia-smi``.
    """
    answer = command(sys.executable, "-c", _ASK_NVML, timeout_s=timeout_s)
    if answer:
        return tuple(Gpu(**card) for card in json.loads(answer))
    answer = command(
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader,nounits",
        timeout_s=timeout_s,
    )
    return None if answer is None else parse_gpus(answer)


def parse_gpus(answer: str) -> tuple[Gpu, ...]:
    """Read the lines of ``nvidia-smi --format=csv,noheader,nounits``.

    >>> parse_gpus("NVIDIA T4, 15360, 550.54.15")[0].memory_bytes
    16106127360
    """
    cards = []
    for line in answer.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 2)]
        if len(parts) == 3:
            name, mebibytes, driver = parts
            cards.append(Gpu(name, int(mebibytes) * 2**20 if mebibytes.isdigit() else None, driver))
    return tuple(cards)


def read_tensorflow_devices(timeout_s: float = 120.0) -> tuple[str, ...] | None:
    """Graphics cards that TensorFlow can use, asked in a child process (some ten seconds).

    None if it fails.
    """
    answer = command(sys.executable, "-c", _DEVICES, timeout_s=timeout_s)
    try:
        return tuple(json.loads(answer)) if answer else None
    except ValueError:
        return None


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def ask_nvml(library: Any) -> Iterator[Gpu]:
    """Every card of NVML, which is asked through its C interface.

    Raises
    ------
    OSError
        If the driver does not answer.

    Source: NVML API reference: nvmlInit_v2, nvmlDeviceGetCount_v2, nvmlDeviceGetHandleByIndex_v2, nvmlDeviceGetName,
    nvmlDeviceGetMemoryInfo, nvmlDeviceGetTemperature, nvmlSystemGetDriverVersion; 0 is NVML_SUCCESS.
    """
    _call(library.nvmlInit_v2)
    try:
        driver, count = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_uint()
        _call(library.nvmlSystemGetDriverVersion, driver, _NAME_BYTES)
        _call(library.nvmlDeviceGetCount_v2, ctypes.byref(count))
        for index in range(count.value):
            handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(_NAME_BYTES)
            memory, celsius = _Memory(), ctypes.c_uint()
            _call(library.nvmlDeviceGetHandleByIndex_v2, index, ctypes.byref(handle))
            _call(library.nvmlDeviceGetName, handle, name, _NAME_BYTES)
            # A card that shares the host's memory, or has no sensor, says that it does not support the question.
            known = library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
            warm = library.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU, ctypes.byref(celsius)) == 0
            yield Gpu(
                name.value.decode(),
                memory.total if known else None,
                driver.value.decode(),
                memory.free if known else None,
                float(celsius.value) if warm else None,
            )
    finally:
        library.nvmlShutdown()


def main() -> None:
    """Print the cards as JSON; the exit code is 1 if there is no NVML that answers."""
    from dataclasses import asdict

    try:
        cards = [asdict(card) for card in ask_nvml(ctypes.CDLL("libnvidia-ml.so.1"))]
    except OSError:
        sys.exit(1)
    print(json.dumps(cards))


def _call(function: Any, *arguments: object) -> None:
    code = function(*arguments)
    if code != 0:
        raise OSError(f"{getattr(function, '__name__', 'NVML')} answered {code}")
