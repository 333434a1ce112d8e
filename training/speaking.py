"""What a command says on its standard output, whoever listens: a pipe that closes early, a terminal that knows no Chinese."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from training import findings


def loading(language: findings.Language) -> None:
    """On a terminal, a line before the libraries are loaded, which takes seconds without another sign of life."""
    if sys.stderr.isatty() and "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        print(findings.phrases("training", language)["loading"], file=sys.stderr, flush=True)


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
