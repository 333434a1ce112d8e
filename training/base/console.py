"""How commands talk to the user: parsing options, printing results, showing progress, and exit codes."""

from __future__ import annotations

import argparse
import difflib
import functools
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from training.base.errors import ConfigError
from training.base.words import LANGUAGES, Language, phrases, prefer

if TYPE_CHECKING:
    import jsonargparse

LANG_HELP = "language of the output, zh or en; by default log.language of the run's config, or the language of the locale"


def loading(language: Language) -> None:
    """On a terminal, print a line before the libraries are imported, which takes several seconds."""
    if sys.stderr.isatty() and "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        print(phrases("training", language)["loading"], file=sys.stderr, flush=True)


def print_result(result: str | dict[str, Any]) -> None:
    """Print text as it is, or an object as JSON.

    A pipe that the reader has closed (`| head`) is not an error. Characters that the output's encoding lacks become `?`, in JSON an
    escape.

    Raises:
        ValueError: if a number in the object is not finite, because JSON cannot express it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if not isinstance(result, str):
        unicode = (sys.stdout.encoding or "utf-8").lower().replace("-", "").startswith("utf")
        result = json.dumps(result, ensure_ascii=not unicode, indent=1, allow_nan=False)
    try:
        print(result, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise the interpreter complains when it exits


def command_parser(description: str | None, epilog: str = "") -> jsonargparse.ArgumentParser:
    """Make the parser of a command's options; it already has `--lang`."""
    import jsonargparse  # takes a tenth of a second, and reading a run's config does not need it

    p = jsonargparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, exit_on_error=False
    )
    p.add_argument("--lang", choices=LANGUAGES, help=LANG_HELP)
    return p


def options_of(p: jsonargparse.ArgumentParser, argv: list[str] | None) -> jsonargparse.Namespace:
    """Parse `argv`, by default the arguments of this process. From here on, output is in the language of `--lang`.

    Raises:
        ConfigError: for an unknown option, with the nearest valid one.
        argparse.ArgumentError: for an invalid value.
    """
    argv = sys.argv[1:] if argv is None else argv
    valid = option_names(p)
    for name in (word.partition("=")[0] for word in argv if word.startswith("--") and len(word) > 2):
        if name not in valid:
            near = difflib.get_close_matches(name, valid, 1, 0.5)
            raise ConfigError(f"{name}: no such option; " + (f"did you mean {near[0]}?" if near else f"valid: {', '.join(valid)}"))
    options = p.parse_args(argv)
    prefer(options.lang)
    return options


def option_names(p: argparse.ArgumentParser) -> list[str]:
    """The long names of a parser's options, such as `--lang`."""
    return [name for action in p._actions for name in action.option_strings if name.startswith("--")]


def one_line(command: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """Make a command return its exit code: 0, 130 after Ctrl-C, or 2 after a user's mistake, which becomes one line on stderr."""

    @functools.wraps(command)
    def main(argv: list[str] | None = None) -> int:
        try:
            command(argv)
        except (ConfigError, argparse.ArgumentError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except OSError as error:
            print(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
        finally:
            prefer(None)
        return 0

    return main


class Progress:
    """Shows the progress of some work: a bar on a terminal, elsewhere (a file, a pipe) a line every half minute.

    Args:
        what: the work, in words.
        total: the value of `done` at the end, if it is known.
        delay: seconds before the bar is shown.
        left: the words for the time that is left, with a place for `time`.
    """

    EVERY = 30.0  # seconds between two lines

    def __init__(
        self, what: str, total: float | None = None, done: float = 0, shown: bool = True, delay: float = 2.0, left: str = "{time} left"
    ):
        self._what, self.left, self.total, self.first, self.done, self.note = what, left, total, done, done, ""
        self.stream = sys.stderr  # looked up at each call, because a study redirects its trials' stderr
        self.began = self.last_line = time.monotonic()
        self.shown = shown
        form = "{desc}: {percentage:3.0f}%|{bar:20}| [{elapsed}<{remaining}{postfix}]" if total else "{desc}: {n_fmt} [{elapsed}]"
        self.bar = tqdm(
            total=total, initial=done, desc=what, delay=delay, leave=False, unit_scale=True, file=self.stream, dynamic_ncols=True,
            disable=not (shown and self.stream.isatty()), mininterval=0.3, miniters=0, bar_format=form, smoothing=0,
        )  # fmt: skip

    @property
    def what(self) -> str:
        """The work, in words. Setting it shows it at once, because the next update may be long in coming."""
        return self._what

    @what.setter
    def what(self, what: str) -> None:
        self._what = what
        self.bar.delay = 0  # otherwise tqdm does not erase a bar that was shown before the delay is over
        self.bar.set_description_str(what, refresh=self.shown)

    def to(self, done: float, note: str = "") -> None:
        """Update the progress to `done`, with a note behind it."""
        self.done, self.note = done, note or self.note
        self.bar.set_postfix_str(self.note, refresh=False)
        self.bar.update(done - self.bar.n)
        now = time.monotonic()
        if self.shown and self.bar.disable and now - self.last_line >= self.EVERY:
            self.last_line = now
            parts = [f"{self.what}: {done / self.total:.0%}" if self.total else f"{self.what}: {done:,.0f}"]
            parts += [self.note] if self.note else []
            if self.total and self.first < done < self.total:
                left = (now - self.began) * (self.total - done) / (done - self.first)
                parts.append(self.left.format(time=tqdm.format_interval(max(0, int(left)))))
            print(", ".join(parts), file=self.stream, flush=True)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Refresh the display once a second while the caller does work that cannot report its progress."""
        over = threading.Event()

        def refresh() -> None:
            while not over.wait(1.0):
                self.to(self.done)

        thread = threading.Thread(target=refresh, daemon=True)
        if self.shown:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if self.shown:
                thread.join()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


def die_with_the_launcher() -> None:
    """Have this process get a SIGTERM when `accelerate launch` is killed, so that it does not train on unseen (Linux only)."""
    if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
