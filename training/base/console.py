"""What a command says and how it ends: lines on a terminal or in a pipe, signs of life, exit codes."""

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

LANG_HELP = "language of what is said, zh or en; otherwise log.language of the run's config, or that of the locale"


def loading(language: Language) -> None:
    """On a terminal, a line before the libraries are loaded, which takes seconds without another sign of life."""
    if sys.stderr.isatty() and "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        print(phrases("training", language)["loading"], file=sys.stderr, flush=True)


def printed(said: str | dict[str, Any]) -> None:
    """Print lines, or an object as JSON.

    A reader that has gone (`| head`) wants no more, which is no failure of ours. What the output's encoding lacks becomes `?`; in JSON,
    an escape.

    Raises:
        ValueError: if a number in the object is not finite; JSON has no name for it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if not isinstance(said, str):
        complete = (sys.stdout.encoding or "utf-8").lower().replace("-", "").startswith("utf")
        said = json.dumps(said, ensure_ascii=not complete, indent=1, allow_nan=False)
    try:
        print(said, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it ends


def command_parser(description: str | None, epilog: str = "") -> jsonargparse.ArgumentParser:
    """A parser of a command's options, which has `--lang` already."""
    import jsonargparse  # a tenth of a second, which a run's config does not need

    p = jsonargparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, exit_on_error=False
    )
    p.add_argument("--lang", choices=LANGUAGES, help=LANG_HELP)
    return p


def options_of(p: jsonargparse.ArgumentParser, argv: list[str] | None) -> jsonargparse.Namespace:
    """What `argv` says, by default that of this process; what is said from here on is in the language of `--lang`.

    Raises:
        ConfigError: for an option that there is not, with the nearest one that there is.
        argparse.ArgumentError: for a value that an option cannot have.
    """
    argv = sys.argv[1:] if argv is None else argv
    known = known_options(p)
    for name in (word.partition("=")[0] for word in argv if word.startswith("--") and len(word) > 2):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            raise ConfigError(f"{name}: no such option; " + (f"did you mean {near[0]}?" if near else f"valid: {', '.join(known)}"))
    options = p.parse_args(argv)
    prefer(options.lang)
    return options


def known_options(p: argparse.ArgumentParser) -> list[str]:
    """The options of a parser, `--help` aside."""
    return [name for action in p._actions for name in action.option_strings if name.startswith("--")]


def one_line(command: Callable[[list[str] | None], None]) -> Callable[..., int]:
    """A command that returns its exit code: 0, 2 after a user's mistake, which is one line on stderr, or 130 after Ctrl-C."""

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
    """How far something is: a bar on a terminal, elsewhere (a file, a pipe) a line every half minute.

    Args:
        total: what `done` goes up to, if that is known.
        delay: seconds before anything is shown.
        left: the words for `time` that is left.
    """

    EVERY = 30.0

    def __init__(
        self, what: str, total: float | None = None, done: float = 0, shown: bool = True, delay: float = 2.0, left: str = "{time} left"
    ):
        self._what, self.left, self.total, self.first, self.done, self.note = what, left, total, done, done, ""
        self.stream = sys.stderr  # of now: a study sends what its trials say elsewhere
        self.began = self.told = time.monotonic()
        self.shown = shown
        form = "{desc}: {percentage:3.0f}%|{bar:20}| [{elapsed}<{remaining}{postfix}]" if total else "{desc}: {n_fmt} [{elapsed}]"
        self.bar = tqdm(
            total=total, initial=done, desc=what, delay=delay, leave=False, unit_scale=True, file=self.stream, dynamic_ncols=True,
            disable=not (shown and self.stream.isatty()), mininterval=0.3, miniters=0, bar_format=form, smoothing=0,
        )  # fmt: skip

    @property
    def what(self) -> str:
        """What is going on; setting it shows it at once, since what follows may take long without a word."""
        return self._what

    @what.setter
    def what(self, what: str) -> None:
        self._what = what
        self.bar.delay = 0  # else tqdm does not wipe what is shown before that
        self.bar.set_description_str(what, refresh=self.shown)

    def to(self, done: float, note: str = "") -> None:
        """It has come as far as `done`."""
        self.done, self.note = done, note or self.note
        self.bar.set_postfix_str(self.note, refresh=False)
        self.bar.update(done - self.bar.n)
        now = time.monotonic()
        if self.shown and self.bar.disable and now - self.told >= self.EVERY:
            self.told = now
            parts = [f"{self.what}: {done / self.total:.0%}" if self.total else f"{self.what}: {done:,.0f}"]
            parts += [self.note] if self.note else []
            if self.total and self.first < done < self.total:
                left = (now - self.began) * (self.total - done) / (done - self.first)
                parts.append(self.left.format(time=tqdm.format_interval(max(0, int(left)))))
            print(", ".join(parts), file=self.stream, flush=True)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While something goes on that does not tell how far it is, what is known is shown again, with the time so far."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1.0):
                self.to(self.done)

        beating = threading.Thread(target=beat, daemon=True)
        if self.shown:
            beating.start()
        try:
            yield
        finally:
            over.set()
            if self.shown:
                beating.join()

    def close(self) -> None:
        """Nothing more is shown."""
        self.bar.close()


def die_with_the_launcher() -> None:
    """When `accelerate launch` is killed, its only child gets a SIGTERM, instead of training on unseen (Linux)."""
    if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
