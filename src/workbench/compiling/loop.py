"""A compiled function as Python and numba see it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property, partial, update_wrapper
from typing import Any

from workbench.compiling.arguments import Form, form_of, preparer, words

Preparer = Callable[..., Callable[[], Any]]  # from arguments to the call with them
_compiling = threading.RLock()


class Loop:
    """A function that is compiled when it is called for the first time with arguments of some types."""

    def __init__(self, function: Callable[..., Any], *, kept: bool, **options: Any) -> None:
        update_wrapper(self, function)
        self.function, self.kept, self.options = function, kept, options
        self._preparers: dict[Form, Preparer] = {}

    def __call__(self, *arguments: Any) -> Any:
        return self.prepared(*arguments)()

    def prepared(self, *arguments: Any) -> Callable[[], Any]:
        """The call with these arguments, compiled and ready; it finds in them what is in them when it is made."""
        if not self.kept:
            return partial(self.dispatcher, *arguments)
        form = form_of(arguments)
        prepare = self._preparers.get(form) or self._made(form, arguments)
        return prepare(*arguments)

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

    def _made(self, form: Form, arguments: tuple[Any, ...]) -> Preparer:
        with _compiling:
            if form not in self._preparers:
                types = words(form)
                found = None if types is None else self._found(form, types, arguments)
                self._preparers[form] = found or partial(partial, self.dispatcher)
            return self._preparers[form]

    def _found(self, form: Form, types: str, arguments: tuple[Any, ...]) -> Preparer | None:
        """What calls the machine code for these types, kept or new; None if numba has to call it."""
        from workbench.compiling.machine_code import find, keep, load

        made = find(self, types)
        if made is None:
            from workbench.compiling.numba_side import compile_alone

            made = compile_alone(self, form, arguments)
            if made is None:
                return None
            keep(self, types, made)
        return preparer(self.function.__qualname__, load(made), form, made.returns)


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
