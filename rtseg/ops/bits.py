"""Bits of a word, for compiled loops: an instruction each."""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic


@intrinsic
def trailing_zeros(typing_context, word):  # type: ignore[no-untyped-def]
    """Count the zero bits below the lowest set bit of a non-zero unsigned 64-bit word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.intp(types.uint64), generate


@intrinsic
def leading_zeros(typing_context, word):  # type: ignore[no-untyped-def]
    """Count the zero bits above the highest set bit of a non-zero unsigned 64-bit word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, True))

    return types.intp(types.uint64), generate


@intrinsic
def set_bits(typing_context, word):  # type: ignore[no-untyped-def]
    """Count the set bits of an unsigned 64-bit word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return types.intp(types.uint64), generate
