"""The AVX-512 groups that this NumPy has code for and this processor runs, as NPY_DISABLE_CPU_FEATURES takes them."""

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

NEWER = ("X86_V4",)  # names without AVX512 in them, from NumPy 2.4 on

print(*(name for name in __cpu_dispatch__ if (name.startswith("AVX512") or name in NEWER) and __cpu_features__.get(name)))
