"""From a resolved program to Python functions, by way of Python's `ast`. In: a `Resolution`. Out: a `Program`."""

from hslpy.lang.compile.program import compile_program

__all__ = ["compile_program"]
