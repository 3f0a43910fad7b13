"""Calling the application's functions so that what they raise is logged and ends nothing else."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

F = TypeVar("F", bound=Callable[..., None])


class Handlers(Generic[F]):
    """Functions that are called one after the other, in the order in which they were added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._functions: tuple[F, ...] = ()

    def add(self, function: F) -> F:
        """Add `function`; it is returned, so that this serves as a decorator."""
        if not callable(function):
            raise TypeError(f"a handler must be callable, not {type(function).__name__}")
        with self._lock:
            self._functions = (*self._functions, function)
        return function

    def __bool__(self) -> bool:
        return bool(self._functions)

    def call(self, logger: Any, *arguments: Any) -> None:
        """Call every function; what one raises is logged with its traceback, and the next is called."""
        for function in self._functions:
            try:
                function(*arguments)
            except BaseException:  # noqa: BLE001 - the application may raise anything, and the thread is ours
                report_failure(logger, function)

    def call_each(self, logger: Any, arguments: Iterable[Any]) -> None:
        """Do `call` for one argument after the other."""
        functions = self._functions
        for argument in arguments:
            for function in functions:
                try:
                    function(argument)
                except BaseException:  # noqa: BLE001 - as above
                    report_failure(logger, function)


def report_failure(logger: Any, function: Callable[..., None]) -> None:
    """Log what `function` has just raised."""
    name = getattr(function, "__qualname__", repr(function))
    logger.error("handler_failed", handler=name, exc_info=True)
