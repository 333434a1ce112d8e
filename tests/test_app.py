"""app.py as a process: what it imports, and its two endpoints. `pytest tests/test_app.py`"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from serving_fixtures import PAIRS, SENTENCE, both_models, serve

ROOT = Path(__file__).resolve().parents[1]
# What the app must not bring along: whatever trains. (Records, verdicts and estimates on paper are light.)
HEAVY = ("training.loop", "training.setup", "training.model", "training.tasks", "training.scoring", "training.publish", "training.train")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "models 模型"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def empty_client(models_dir: Path) -> Iterator[Client]:
    with serve(models_dir) as url:
        yield Client(url, verbose=False)


@pytest.fixture(scope="module")
def client(empty_client: Client, models_dir: Path) -> Client:
    """The same server after models were trained: no restart."""
    with pytest.raises(AppError, match="make demo") as generate:
        empty_client.predict(prompt="飞", api_name="/generate")
    with pytest.raises(AppError, match="translation model yet") as translate:
        empty_client.predict(text="你好", api_name="/translate")
    assert "还没有" in str(generate.value) and "还没有" in str(translate.value)
    both_models(models_dir)
    return empty_client


def test_import_app_brings_no_trainer() -> None:
    code = "import app, sys; print(*sys.modules)"
    # isolated from where pytest runs, as on a Space
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    brought = done.stdout.split()
    assert "inference.engine" in brought and not [name for name in brought if name.startswith(HEAVY)]


@pytest.mark.parametrize("path", [ROOT / "app.py", *sorted((ROOT / "serving").rglob("*.py"))], ids=lambda p: p.name)
def test_no_import_of_the_trainer_is_hidden_in_a_function(path: Path) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} if node.module != "training" else {f"training.{a.name}" for a in node.names}
    assert not [name for name in names if name.startswith(HEAVY)]


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "says"),
    [
        (["--help"], {}, 0, "GRADIO_SERVER_PORT"),
        (["--port", "7000"], {}, 2, "it reads the environment variables MODELS_DIR, GRADIO_SERVER_NAME and GRADIO_SERVER_PORT"),
        ([], {"GRADIO_SERVER_PORT": "99999"}, 2, "GRADIO_SERVER_PORT: '99999' is not a port; valid: 1 to 65535"),
        ([], {"GRADIO_SERVER_PORT": "http"}, 2, "GRADIO_SERVER_PORT: 'http' is not a port"),
        ([], {"GRADIO_SERVER_NAME": "203.0.113.1"}, 2, "error: Cannot find empty port"),
    ],
)
def test_a_wrong_start_is_one_line(tmp_path: Path, arguments: list[str], environ: dict[str, str], code: int, says: str) -> None:
    settings = os.environ | {"MODELS_DIR": str(tmp_path)} | environ
    command = [sys.executable, str(ROOT / "app.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and says in done.stdout + done.stderr, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == (1 if code else 0)


def test_there_are_two_endpoints(empty_client: Client) -> None:
    api: Any = empty_client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == {"/generate", "/translate"}
    assert api["unnamed_endpoints"] == {}
    assert api["named_endpoints"]["/generate"]["parameters"][0]["parameter_name"] == "prompt"


def test_generate(client: Client) -> None:
    text, note = client.predict(prompt=SENTENCE[:2], temperature=0, api_name="/generate")
    assert text == SENTENCE
    assert "stopped at the end token" in note
    text, note = client.predict(prompt="夏", seed=7, max_new_tokens=3, api_name="/generate")
    assert text.startswith("夏") and "seed 7" in note
    assert client.predict(api_name="/generate")[0]


def test_generate_streams(client: Client) -> None:
    outputs = list(client.submit("", temperature=0, api_name="/generate"))
    assert outputs[-1][0] == SENTENCE
    assert all(SENTENCE.startswith(text) for text, _ in outputs)


def test_translate(client: Client) -> None:
    text, note = client.predict("\n".join(["", *PAIRS]), api_name="/translate")
    assert text == "\n".join(["", *PAIRS.values()])
    assert "model time" in note


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"model": "<script>", "api_name": "/generate"}, "Available: verses"),
        ({"model": "../verses", "api_name": "/generate"}, "Available: verses"),
        ({"top_p": 7, "api_name": "/generate"}, "top_p must be between"),
        ({"prompt": {"a": 1}, "api_name": "/generate"}, "prompt must be text"),
        ({"text": "好\n" * 100, "api_name": "/translate"}, "At most 64 lines"),
        ({"text": 5, "api_name": "/translate"}, "text must be text"),
        ({"text": "好", "num_beams": 99, "api_name": "/translate"}, "num_beams must be between"),
        ({"text": "好", "num_beams": 2.7, "api_name": "/translate"}, "num_beams must be a whole number"),
        ({"seed": 1.5, "api_name": "/generate"}, "seed must be a whole number"),
    ],
)
def test_mistakes_are_explained(client: Client, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(**request_)


def test_twenty_requests_at_once_keep_their_seeds(client: Client) -> None:
    def ask(seed: int) -> str:
        return client.predict("夏", temperature=2, seed=seed % 5, api_name="/generate")[0]

    with ThreadPoolExecutor(20) as pool:
        texts = list(pool.map(ask, range(20)))
    assert all(texts[seed] == texts[seed % 5] for seed in range(20))
    assert len(set(texts)) > 1


def test_a_five_megabyte_prompt(client: Client) -> None:
    text, note = client.predict("飞" * 1_700_000, temperature=0, max_new_tokens=2, api_name="/generate")
    assert len(text) <= 1_700_002
    assert "too long" in note
