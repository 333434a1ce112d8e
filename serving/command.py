"""What `python app.py` is started with, looked at before Gradio is imported: Gradio reads the port while it is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

USAGE = """python app.py takes no arguments. It reads these environment variables:
  MODELS_DIR          the folder with models (else ./runs and ./models)
  GRADIO_SERVER_NAME  the address to listen on (127.0.0.1; 0.0.0.0 lets other machines in)
  GRADIO_SERVER_PORT  the port to try first (7860)"""


def check(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raises SystemExit: 0 after --help, 2 with one line on stderr for any other argument and for a port that cannot be."""
    if argv and set(argv) <= {"-h", "--help"}:
        print(USAGE)
        raise SystemExit(0)
    port = environ.get("GRADIO_SERVER_PORT")
    problem = ""
    if argv:
        names = "MODELS_DIR, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT"
        problem = f"app.py takes no arguments ({' '.join(argv)}); it reads the environment variables {names}"
    elif port is not None and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        problem = f"GRADIO_SERVER_PORT: {port!r} is no port; valid: 1 to 65535"
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2)
