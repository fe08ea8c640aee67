"""Which lines and branches of a strategy's own code were run while something was checked.

A check proves nothing about code that it never reached. What is measured is the strategy's ``weights`` and every
function of the same file that it can reach by name, instruction by instruction, so that both outcomes of a
condition count, also of one inside an expression. Libraries are not looked into.
"""

from __future__ import annotations

import dis
import linecache
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

# Following every instruction is slow: a loop that runs on is not followed for ever, code of which everything has run is
# not followed again, and after so many calls without anything new only one call in a few is followed.
_STEPS_PER_CALL = 50_000
_QUIET_CALLS = 40
_ONE_IN = 10
_BRANCHES = ("POP_JUMP", "JUMP_IF", "FOR_ITER")
# How a call begins, before the first instruction that is followed.
_PROLOGUE = ("RESUME", "MAKE_CELL", "COPY_FREE_VARS", "RETURN_GENERATOR", "EXTENDED_ARG")


@dataclass(frozen=True, slots=True)
class CodePaths:
    """Lines and outcomes of branches that were run, of all there are.

    ``missed`` names the rest as ``file:line: what``; ``note`` says why nothing could be measured, if so.
    """

    lines: int = 0
    lines_run: int = 0
    branches: int = 0
    branches_run: int = 0
    missed: tuple[str, ...] = ()
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything was measured and run."""
        return not self.missed and not self.note

    def __str__(self) -> str:
        if self.note:
            return self.note
        branches = f" and {self.branches_run} of {self.branches} outcomes of branches" if self.branches else ""
        return f"{self.lines_run} of {self.lines} lines{branches}"


@dataclass(slots=True)
class _Seen:
    """What one code object has, and what of it was run."""

    code: CodeType
    order: dict[int, int]  # offset -> offset of the instruction after it
    lines: dict[int, int]  # offset -> line
    branches: dict[int, str]  # offset -> name of the instruction
    real: dict[int, int]  # offset -> offset of the instruction it belongs to
    run: set[int] = field(default_factory=set)
    edges: set[tuple[int, int]] = field(default_factory=set)

    def outcomes(self, offset: int) -> tuple[bool, bool]:
        """Whether the branch was seen to fall through, and to jump."""
        after = {to for start, to in self.edges if start == offset}
        through = self.order.get(offset, -1)
        return through in after, bool(after - {through})

    @property
    def complete(self) -> bool:
        run = {self.lines[offset] for offset in self.run if offset in self.lines}
        return run >= set(self.lines.values()) and all(all(self.outcomes(offset)) for offset in self.branches)


class PathRecorder:
    """Records while it is entered; may be entered again and again. One thread at a time.

    Examples
    --------
    >>> from workbench.strategies.momentum import Momentum
    >>> recorder = PathRecorder(Momentum)
    >>> recorder.paths().lines_run
    0
    """

    def __init__(self, strategy: type) -> None:
        weights = getattr(strategy, "weights", None)
        self._note = "" if isinstance(weights, FunctionType) else "its code cannot be read, so no path was measured"
        self._seen: dict[CodeType, _Seen] = {}
        self._file = ""
        self._before: Any = None
        self._on = False
        self._calls = self._quiet = self._known = 0
        if isinstance(weights, FunctionType):
            self._file = weights.__code__.co_filename
            for function in reachable_functions(strategy):
                self._add(function.__code__)

    def __enter__(self) -> PathRecorder:
        self._before = sys.gettrace()
        if self._before is not None:
            self._note = "another tracer (a debugger, a coverage tool) was on, so no path was measured"
        self._calls += 1
        tired = self._quiet >= _QUIET_CALLS and self._calls % _ONE_IN
        self._on = not (self._note or tired or all(seen.complete for seen in self._seen.values()))
        if self._on:
            sys.settrace(self._enter_frame)
        return self

    def __exit__(self, *_: object) -> None:
        if self._on:
            sys.settrace(self._before)
            known = sum(len(seen.edges) for seen in self._seen.values())
            self._quiet = 0 if known > self._known else self._quiet + 1
            self._known = known

    def paths(self) -> CodePaths:
        """What was run so far."""
        if self._note:
            return CodePaths(note=self._note)
        lines: dict[int, bool] = {}
        total = run = 0
        one_sided: list[tuple[int, str]] = []
        for seen in self._seen.values():
            for offset, line in seen.lines.items():
                lines[line] = lines.get(line, False) or offset in seen.run
            for offset, name in seen.branches.items():
                on, off = seen.outcomes(offset)
                total, run = total + 2, run + on + off
                if offset in seen.run and not (on and off):
                    one_sided.append((seen.lines.get(offset, 0), _sentence(name, on)))
        missed = [(line, "never run") for line, was in lines.items() if not was]
        missed += [(line, what) for line, what in one_sided if line]
        listed = dict.fromkeys(self._named(line, what) for line, what in sorted(missed))
        return CodePaths(len(lines), sum(lines.values()), total, run, tuple(listed))

    def _named(self, line: int, what: str) -> str:
        text = " ".join(linecache.getline(self._file, line).split())
        return f"{Path(self._file).name}:{line}: {what}" + (f": {text}" if text else "")

    def _add(self, code: CodeType) -> _Seen:
        """Analyse a function with the lambdas, comprehensions and functions inside it."""
        seen = self._seen[code] = _analysed(code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._add(constant)
        return seen

    def _enter_frame(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        seen = self._seen.get(code)
        if seen is None:
            if code.co_filename != self._file or code.co_name == "<module>":
                return None
            seen = self._add(code)
        if seen.complete:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return _follow(seen)


def reachable_functions(strategy: type) -> list[FunctionType]:
    """``weights`` and every function of the same file that it names, directly or not."""
    found: dict[CodeType, FunctionType] = {}
    waiting = [strategy.weights]  # type: ignore[attr-defined]  # a Strategy
    while waiting:
        function = _plain_function(waiting.pop())
        if function is None or function.__code__ in found:
            continue
        found[function.__code__] = function
        for name in _names(function.__code__):
            for owner in (*strategy.__mro__[:-1], None):
                space = function.__globals__ if owner is None else vars(owner)
                value = space.get(name)
                candidates = list(vars(value).values()) if isinstance(value, type) else [value]
                waiting += [made for made in map(_plain_function, candidates) if made and _near(made, function)]
    return list(found.values())


def _near(candidate: FunctionType, by: FunctionType) -> bool:
    return candidate.__code__.co_filename == by.__code__.co_filename


def _plain_function(value: object) -> FunctionType | None:
    """The Python function inside a method, a property, a wrapper or a compiled function."""
    for attribute in ("__func__", "fget", "py_func", "__wrapped__"):
        value = getattr(value, attribute, value)
    return value if isinstance(value, FunctionType) else None


def _names(code: CodeType) -> set[str]:
    names = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _analysed(code: CodeType) -> _Seen:
    seen = _Seen(code, {}, {}, {}, {})
    instructions = list(dis.get_instructions(code))
    extended: list[int] = []
    previous: dis.Instruction | None = None
    line = code.co_firstlineno
    for number, made in enumerate(instructions):
        if made.opname == "EXTENDED_ARG":
            extended.append(made.offset)
            continue
        for offset in (*extended, made.offset):
            seen.real[offset] = made.offset
        extended.clear()
        line = (made.positions.lineno if made.positions else None) or line
        if made.opname not in _PROLOGUE:
            seen.lines[made.offset] = line
        if previous is not None:
            seen.order[previous.offset] = made.offset
        follower = instructions[number + 1] if number + 1 < len(instructions) else None
        if made.opname.startswith(_BRANCHES) and not _housekeeping(previous, follower):
            seen.branches[made.offset] = made.opname
        previous = made
    return seen


def _housekeeping(before: dis.Instruction | None, after: dis.Instruction | None) -> bool:
    """Branches that the compiler made of except clauses, with blocks and assertions."""
    made = before is not None and before.opname in ("CHECK_EXC_MATCH", "WITH_EXCEPT_START", "CHECK_EG_MATCH")
    return made or (after is not None and after.opname == "LOAD_ASSERTION_ERROR")


def _follow(seen: _Seen) -> Any:
    last, steps = -1, 0

    def step(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal last, steps
        if event == "opcode":
            at = seen.real.get(frame.f_lasti, frame.f_lasti)
            seen.run.add(at)
            seen.edges.add((last, at))
            last = at
            steps += 1
            if steps > _STEPS_PER_CALL:
                frame.f_trace_opcodes = False
        return step

    return step


def _sentence(name: str, fell_through: bool) -> str:
    if name == "FOR_ITER":
        return "the loop always ended early" if fell_through else "the loop was never entered"
    if "NONE" in name:
        return "only one outcome was seen"
    jumps_if_true = "IF_TRUE" in name
    return f"the condition was {'never' if fell_through == jumps_if_true else 'always'} true"
