"""The web page: build its tabs and serve it. `python app.py`, then open http://127.0.0.1:7860

The environment variable MODELS_DIR names the folder with models (default: ./runs and ./models); Gradio itself reads
GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.
"""

from __future__ import annotations

import os
import sys

from serving import command

if __name__ == "__main__":
    command.check(sys.argv[1:], os.environ)

import threading

import gradio as gr

from inference.engine import Engine
from serving.look import TITLE, label, launch_options
from serving.tabs import check, generate, sweep, translate

engine = Engine()

with gr.Blocks(title=TITLE, analytics_enabled=False) as demo:
    with gr.Column(elem_id="head"):
        gr.Markdown(f"# {TITLE}")
        gr.Markdown(label("intro"))
    with gr.Tab("续写 · Continue a text"):
        generate.build(engine)
    with gr.Tab("翻译 · Translate"):
        translate.build(engine)
    with gr.Tab("检查 · Check"):
        check.build()
    with gr.Tab("旋钮 · Sweep"):
        sweep.build()

# For a public page: two computations at a time, and a queue that refuses visitors before they would wait for minutes.
demo.queue(default_concurrency_limit=2, max_size=40)

if __name__ == "__main__":
    threading.Thread(target=engine.warm, daemon=True).start()
    try:
        demo.launch(**launch_options())
    except OSError as error:  # the port is in use, or the address does not belong to this machine
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
