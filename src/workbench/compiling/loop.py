"""A compiled function as Python and numba see it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any

from workbench.compiling.arguments import Form, form_of

_compiling = threading.RLock()


class Loop:
    """A function that is compiled when it is called for the first time with arguments of some types."""

    def __init__(self, function: Callable[..., Any], *, kept: bool, **options: Any) -> None:
        update_wrapper(self, function)
        self.function, self.kept, self.options = function, kept, options
        self._calls: dict[Form, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        form = form_of(arguments) if self.kept else None
        call = self.dispatcher if form is None else self._calls.get(form)
        if call is None:
            call = self._made(form, arguments)
        return call(*arguments)

    @cached_property
    def dispatcher(self) -> Any:
        """What numba makes of the function."""
        from workbench.compiling.numba_side import dispatcher_of

        return dispatcher_of(self)

    @cached_property
    def digest(self) -> str:
        """A name for all that the machine code is made of: the same code has the same name."""
        from workbench.compiling.contents import digest_of

        return digest_of(self)

    @property
    def _numba_type_(self) -> Any:
        """What numba takes it for in the code of another: the attribute by which its own dispatchers tell it."""
        return self.dispatcher._numba_type_

    def _made(self, form: Form, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        from workbench.compiling.machine_code import find, keep

        with _compiling:
            if form not in self._calls:
                call = find(self, form)
                if call is None:
                    from workbench.compiling.numba_side import compile_alone

                    made = compile_alone(self, form, arguments)
                    call = self.dispatcher if made is None else keep(self, form, made)
                self._calls[form] = call
            return self._calls[form]


class Instruction:
    """One instruction of the processor, for a uint64 in compiled code, which no loop of ours is compiled to."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, word: Any) -> Any:
        raise TypeError(f"{self.name} is for compiled code only")

    @property
    def _numba_type_(self) -> Any:
        from workbench.compiling.numba_side import instruction_type

        return instruction_type(self.name)
