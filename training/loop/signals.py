"""SIGINT and SIGTERM while a run trains. Light, so that a caller can make a `Signals` before the libraries are loaded."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Signals:
    """Remembers a signal, so that the loop can end after its step instead of in the middle of it.

    A caller who must know of a signal however a run ended, by an exception too, gives `train` one of these and looks at it afterwards.

    Attributes:
        received: the name of the last signal, such as SIGTERM; empty if none came.
    """

    def __init__(self) -> None:
        self.received = ""

    @contextmanager
    def remembered(self, words: dict[str, Any], shown: bool, saved: Callable[[], bool]) -> Iterator[None]:
        """Inside, a signal is remembered, and a second SIGINT ends the process at once. Afterwards the handlers are those of before.

        In any other thread than the main one Python allows no handlers, and nothing is remembered.

        Args:
            words: the book `training`.
            shown: this process says that the step is being finished; one of several is enough.
            saved: tells whether there is a checkpoint yet.
        """

        def receive(number: int, frame: Any) -> None:  # os.write, because print is not safe in a handler
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
