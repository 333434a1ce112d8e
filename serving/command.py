"""Check the arguments and environment of `python app.py`. This runs before Gradio is imported, because its import reads the port."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

USAGE = """python app.py takes no arguments. It reads these environment variables:
  MODELS_DIR          the folder with models (default: ./runs and ./models)
  GRADIO_SERVER_NAME  the address to listen on (default 127.0.0.1; 0.0.0.0 lets other machines connect)
  GRADIO_SERVER_PORT  the first port to try (default 7860)"""


def check(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raise SystemExit: 0 after --help, or 2 with one line on stderr for any other argument and for an invalid port."""
    if argv and set(argv) <= {"-h", "--help"}:
        print(USAGE)
        raise SystemExit(0)
    port = environ.get("GRADIO_SERVER_PORT")
    problem = ""
    if argv:
        names = "MODELS_DIR, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT"
        problem = f"app.py takes no arguments ({' '.join(argv)}); it reads the environment variables {names}"
    elif port is not None and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        problem = f"GRADIO_SERVER_PORT: {port!r} is not a port; valid: 1 to 65535"
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2)
