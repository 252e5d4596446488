"""From a resolved program to Python functions, by way of Python's `ast`. In: a `Resolution`. Out: a `Program`."""

from hslpy.lang.compile.program import Compiled, compile_program, link

__all__ = ["Compiled", "compile_program", "link"]
