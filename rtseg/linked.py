"""Kernels that other kernels call, compiled only as far as linking them into those takes.

Numba makes of each what it makes of a kernel that Python calls: an optimized module, machine code, a wrapper, files in
its cache. The callers use none of that, for in them the code is optimized and made machine code once more; leaving it
out is a fifth less to compile in the kernels of a lane model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba.core import typing
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags, compile_extra
from numba.core.sigutils import normalize_signature
from numba.core.types import unliteral


class CalledKernel:
    """A kernel for its callers among kernels.

    Args:
        dispatcher: of the kernel, as Python calls it.
    """

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher
        self._compiled: dict[tuple[Any, ...], Any] = {}

    def get_call_template(self, types: Sequence[Any], named: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
        """Give how to call it with arguments of some types, as Numba asks a dispatcher.

        Values are left out of the types, as Numba does of callers in Python. Else a kernel is compiled once more for
        every constant it is called with, and for every ``n = 0`` that is counted up before it is handed over: for as
        long as Numba has not seen the counting, the type of n is the number 0.
        """
        general = [unliteral(one) for one in types], {name: unliteral(one) for name, one in named.items()}
        signature, arguments = self._dispatcher._compiler.fold_argument_types(*general)  # noqa: SLF001
        key = tuple(arguments)
        if key not in self._compiled:
            self._compiled[key] = self._compile(key)
        name = self._dispatcher.py_func.__name__
        signatures = [one.signature for one in self._compiled.values()]
        return typing.make_concrete_template(f"Call({name})", name, signatures), signature, arguments, {}

    def get_overload(self, signature: Any) -> Any:
        """Give what Numba knows its code for these types by."""
        return self, tuple(normalize_signature(signature)[0])

    def _compile(self, types: tuple[Any, ...]) -> Any:
        dispatcher = self._dispatcher
        described = dispatcher.targetdescr
        flags: Any = Flags()
        described.options.parse_as_flags(flags, dispatcher.targetoptions)
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        context, function = described.target_context, dispatcher.py_func
        library = _ToBeLinked(context.codegen(), function.__qualname__)
        compiled = compile_extra(
            described.typing_context, context, function, types, None, flags, dispatcher.locals, library, Compiler
        )
        context.insert_user_function((self, types), compiled.fndesc, [library])
        return compiled


class _ToBeLinked(JITCodeLibrary):  # type: ignore[misc]
    """Code of which no machine code is made; it is optimized with the code that it is linked into."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout  # noqa: SLF001

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True
