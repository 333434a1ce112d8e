"""SIGINT and SIGTERM during a run. This module imports no large library, so that a caller can make a `Signals` first of all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Signals:
    """Remembers a signal, so that the loop can end after a step and not in the middle of it.

    A caller that must know of a signal even if a run ended by an exception passes one to `train` and reads it afterwards.

    Attributes:
        received: the name of the last signal, such as SIGTERM; empty if none came.
    """

    def __init__(self) -> None:
        self.received = ""

    @contextmanager
    def remembered(self, words: dict[str, Any], shown: bool, saved: Callable[[], bool]) -> Iterator[None]:
        """A context in which a signal is remembered and a second SIGINT ends the process at once. It restores the handlers at its end.

        Python allows handlers in the main thread only; in any other thread nothing is remembered.

        Args:
            words: the phrases of the book `training`.
            shown: whether this process prints that the step is being finished; one of several processes is enough.
            saved: returns whether there is a checkpoint yet.
        """

        def receive(number: int, frame: Any) -> None:  # it uses os.write, because print is not safe in a handler
            if self.received and number == signal.SIGINT:
                os.write(2, f"\n{words['at_once_kept' if saved() else 'at_once']}\n".encode())
                os._exit(130)
            self.received = signal.Signals(number).name
            if shown:
                os.write(2, f"\n{words['finishing'].format(signal=self.received)}\n".encode())

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
