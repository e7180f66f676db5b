"""e^z, log(1 - u) and log x as polynomials, which a compiler vectorises in a loop over an array; on a card its own.

Each is one function for float32 and float64, which NumPy computes where nothing is compiled. A CPU compiles the
polynomials below into the loop that calls it, and a card takes its instruction (cuda/adapter.py). They are made of
multiply-adds, which are asked for by name.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typing import signature
from numba.extending import lower_builtin, overload, type_callable

from ..jit import OPTIONS

LOG_2 = math.log(2.0)


def fma(a, b, c):
    """a b + c, rounded once where the processor has an instruction for it, else twice; everywhere in the same way.

    Left to the compiler (fastmath's "contract") the lanes of a loop and the rest that fills none may get different
    ones where there is a choice, as in a b + c d: a last digit that depends on where a ranking stands.
    """
    return a * b + c


@type_callable(fma)
def _type_fma(context):
    def typed(a, b, c):
        kind = context.unify_types(a, b, c)
        return signature(kind, kind, kind, kind)

    return typed


@lower_builtin(fma, types.Float, types.Float, types.Float)
def _lower_fma(context, builder, signature, arguments):
    kind = arguments[0].type
    return builder.call(
        builder.module.declare_intrinsic("llvm.fmuladd", [kind], ir.FunctionType(kind, [kind] * 3)), arguments
    )


def in_order(a, b):
    """The larger and the smaller of two floats, neither of which is NaN.

    Of "a if a > b else b", put back to where a was read, LLVM makes a store under a mask, which some processors (AMD's,
    AVX2) are slow at: sorting 64 columns takes 1.4 ns a score, and took 7.5.
    """
    return max(a, b), min(a, b)


@type_callable(in_order)
def _type_in_order(context):
    return lambda a, b: types.UniTuple(a, 2) if a == b else None


@lower_builtin(in_order, types.Float, types.Float)
def _lower_in_order(context, builder, signature, arguments):
    kind = arguments[0].type
    one_of_two = ir.FunctionType(kind, [kind] * 2)
    both = [
        builder.call(builder.module.declare_intrinsic(name, [kind], one_of_two), arguments, fastmath=("nnan", "nsz"))
        for name in ("llvm.maxnum", "llvm.minnum")
    ]
    return context.make_tuple(builder, signature.return_type, both)


def as_bits(x):
    """The bits of a float, as an integer of the same size. Numba's own view of a number compiles for a second."""
    return x.view(f"i{x.itemsize}")


def as_float(bits):
    """The float that has these bits."""
    return bits.view(f"f{bits.itemsize}")


_CASTS = [(types.float32, types.int32), (types.float64, types.int64)]


def _cast(function, casts):
    """Have Numba compile a function of one argument as a cast of its bits, from one type to another."""

    @type_callable(function)
    def type_cast(context):
        return lambda x: next((signature(to, kind) for kind, to in casts if x == kind), None)

    for kind, _ in casts:

        @lower_builtin(function, kind)
        def lower_cast(context, builder, signature, arguments):
            return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


_cast(as_bits, _CASTS)
_cast(as_float, [(to, kind) for kind, to in _CASTS])


# --- e^z for z <= 0, in array loops ---------------------------------------------------------------------------------
# LLVM does not vectorise math.exp (0.24 G/s). Written out, the loop runs at the speed of memory: z = n log 2 + r with
# |r| <= log(2) / 2, a polynomial in r, and n added to the exponent bits. Adding 1.5 * 2^(mantissa bits) rounds z /
# log 2 to the integer n and leaves it in the lowest bits. log 2 is split in two so that n * high is exact (Cody &
# Waite 1980). Relative error: float32 below 1.2e-7, float64 below 4e-16; tests/laws/test_scalars.py.
# Below the cutoff it is 0.

_F = np.float32
_CUTOFF_32, _ROUND_32, _LOG2E_32 = _F(-87.0), _F(1.5 * 2**23), _F(1 / math.log(2))
_HIGH_32, _LOW_32 = _F(0.693359375), _F(math.log(2) - 0.693359375)
# Minimax coefficients of (e^r - 1 - r) / r^2, from Cephes' expf (Moshier 1992).
_P5, _P4, _P3 = _F(1.9875691500e-4), _F(1.3981999507e-3), _F(8.3334519073e-3)
_P2, _P1, _P0 = _F(4.1665795894e-2), _F(1.6666665459e-1), _F(5.0000001201e-1)
_ONE_32, _ZERO_32, _SHIFT_32 = _F(1), _F(0), np.int32(23)


def _exp_32(z):
    c = max(z, _CUTOFF_32)
    t = fma(c, _LOG2E_32, _ROUND_32)
    n = t - _ROUND_32
    r = fma(-n, _LOW_32, fma(-n, _HIGH_32, c))
    p = fma(fma(fma(fma(fma(_P5, r, _P4), r, _P3), r, _P2), r, _P1), r, _P0)
    p = fma(p * r, r, r) + _ONE_32
    bits = as_bits(p) + (as_bits(t) << _SHIFT_32)
    return as_float(np.int32(bits)) if z >= _CUTOFF_32 else _ZERO_32


_CUTOFF_64, _ROUND_64, _LOG2E_64 = -708.0, 1.5 * 2.0**52, 1 / math.log(2)
_HIGH_64, _LOW_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # fdlibm's split (Sun 1993)
# Taylor's coefficients 1/i!: at |r| <= 0.347 the next term is 4e-18.
_T13, _T12, _T11, _T10, _T9, _T8, _T7, _T6, _T5, _T4, _T3, _T2 = [1 / math.factorial(i) for i in range(13, 1, -1)]
_SHIFT_64 = np.int64(52)


def _exp_64(z):
    c = max(z, _CUTOFF_64)
    t = fma(c, _LOG2E_64, _ROUND_64)
    n = t - _ROUND_64
    r = fma(-n, _LOW_64, fma(-n, _HIGH_64, c))
    p = fma(fma(fma(fma(fma(fma(_T13, r, _T12), r, _T11), r, _T10), r, _T9), r, _T8), r, _T7)
    p = fma(fma(fma(fma(fma(p, r, _T6), r, _T5), r, _T4), r, _T3), r, _T2)
    p = fma(p * r, r, r) + 1.0
    bits = as_bits(p) + (as_bits(t) << _SHIFT_64)
    return as_float(np.int64(bits)) if z >= _CUTOFF_64 else 0.0


def exp_nonpositive(z):
    """e^z for z <= 0 (float32 or float64, -inf included), in the type of z; 0 for the NaN of two equal infinities."""
    return np.exp(np.fmax(z, -np.inf))  # where nothing is compiled; a GPU takes its own exp


@overload(exp_nonpositive, jit_options=OPTIONS, inline="always", target="cpu")
def _exp_nonpositive(z):
    return _exp_32 if z is types.float32 else _exp_64


# --- log(1 - u) for 0 <= u <= 1/2, in array loops ---------------------------------------------------------------------
# -2 artanh(w) with w = u / (2 - u) <= 1/3, by its series: relative error below 2.2e-7 and 4e-16, also for a tiny u,
# where log of a rounded 1 - u would be 0.

_ATANH_32 = tuple(_F(1 / (2 * i + 1)) for i in range(7))
_A6, _A5, _A4, _A3, _A2, _A1, _A0 = _ATANH_32[::-1]
_TWO_32 = _F(2)


def _log_one_minus_32(u):
    w = u / (_TWO_32 - u)
    s = w * w
    return -_TWO_32 * w * fma(fma(fma(fma(fma(fma(_A6, s, _A5), s, _A4), s, _A3), s, _A2), s, _A1), s, _A0)


_H15, _H14, _H13, _H12, _H11, _H10, _H9, _H8, _H7, _H6, _H5, _H4, _H3, _H2, _H1 = [
    1 / (2 * i + 1) for i in range(15, 0, -1)
]


def _log_one_minus_64(u):
    w = u / (2.0 - u)
    s = w * w
    p = fma(fma(fma(fma(fma(_H15, s, _H14), s, _H13), s, _H12), s, _H11), s, _H10)
    p = fma(fma(fma(fma(fma(p, s, _H9), s, _H8), s, _H7), s, _H6), s, _H5)
    p = fma(fma(fma(fma(fma(p, s, _H4), s, _H3), s, _H2), s, _H1), s, 1.0)
    return -2.0 * w * p


def log_one_minus(u):
    """log(1 - u) for 0 <= u <= 1/2 (float32 or float64), in the type of u."""
    return np.log1p(-u)


@overload(log_one_minus, jit_options=OPTIONS, inline="always", target="cpu")
def _log_one_minus(u):
    return _log_one_minus_32 if u is types.float32 else _log_one_minus_64


# --- log(x) of a normal positive float64, in array loops --------------------------------------------------------------
# x = 2^e m with m in [sqrt(1/2), sqrt(2)]; log m = 2 artanh((m - 1) / (m + 1)), by its series up to the 21st power:
# relative error below 4e-16, also next to 1, where e is 0.

_G10, _G9, _G8, _G7, _G6, _G5, _G4, _G3, _G2, _G1 = [1 / (2 * i + 1) for i in range(10, 0, -1)]
_MANTISSA, _EXPONENT_OF_1 = np.int64((1 << 52) - 1), np.int64(1023 << 52)
_SQRT_2 = math.sqrt(2.0)


def _log_64(x):
    bits = as_bits(x)
    m = as_float(np.int64((bits & _MANTISSA) | _EXPONENT_OF_1))
    e = np.float64((bits >> _SHIFT_64) - np.int64(1023))
    large = m > _SQRT_2
    m, e = (0.5 * m if large else m), (e + 1.0 if large else e)
    f = (m - 1.0) / (m + 1.0)
    s = f * f
    p = fma(fma(fma(fma(fma(_G10, s, _G9), s, _G8), s, _G7), s, _G6), s, _G5)
    p = fma(fma(fma(fma(p, s, _G4), s, _G3), s, _G2), s, _G1)
    return fma(e, LOG_2, 2.0 * fma(p * s, f, f))


def log_normal(x):
    """log(x) for a normal x > 0, float64."""
    return np.log(x)


@overload(log_normal, jit_options=OPTIONS, inline="always", target="cpu")
def _log_normal(x):
    return _log_64
