"""What a log calls a function of an application: by its name, never by its repr, which may hold its arguments."""

from __future__ import annotations

import functools
import types

__all__ = ["name_of"]

_MAX_WRAPPERS = 10
_NAMED = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType),
    *(types.MethodWrapperType, types.ClassMethodDescriptorType, type),
)


def name_of(function: object) -> str:
    """Return the module and the qualified name of a function: ``"shop.Cars.boot"``; never raises.

    Of a `functools.partial`, a method and a wrapper, that is the name of the function inside; of any other object,
    that of its class: ``"an object of shop.Handler"``. Neither arguments nor a repr are read: a partial may be bound to
    a password, and a method to an object that shows one.
    """
    try:
        for _ in range(_MAX_WRAPPERS):
            inner = _inner(function)
            if inner is None:
                break
            function = inner
        if isinstance(function, _NAMED):
            return _qualified(function)
        return f"an object of {_qualified(type(function))}"
    except Exception:
        # A metaclass may do anything; what is being logged matters more than its name.
        return "a function"


def _inner(function: object) -> object:
    if isinstance(function, (functools.partial, functools.partialmethod)):
        return function.func
    if isinstance(function, types.MethodType):
        return function.__func__
    if isinstance(function, _NAMED):
        return None
    # Such as functools.cache leaves it.
    wrapped = getattr(function, "__dict__", {}).get("__wrapped__")
    return wrapped if callable(wrapped) else None


def _qualified(named: object) -> str:
    module, name = getattr(named, "__module__", None), getattr(named, "__qualname__", None)
    if not isinstance(name, str):
        return "a function"
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name
