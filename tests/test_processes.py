"""Progress that is shown while something takes long."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from training_runs import ROOT

from training.base.console import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_says_what_is_going_on_now_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    bar = Progress("reading for the tokenizer, texts", delay=60)
    bar.to(10)
    assert screen.getvalue() == ""
    bar.what = "training the tokenizer"
    assert bar.what == "training the tokenizer" and "training the tokenizer: 10" in screen.getvalue()
    bar.close()
    assert screen.getvalue().rpartition("\r")[0].rpartition("\r")[2].strip() == "", "the line is wiped"


def test_a_new_name_goes_into_the_lines_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr("sys.stderr", pipe)
    monkeypatch.setattr(Progress, "EVERY", 0)
    bar = Progress("reading", total=4)
    bar.to(1)
    bar.what = "writing"
    bar.to(2)
    assert pipe.getvalue().splitlines()[0].startswith("reading: 25%") and pipe.getvalue().splitlines()[1].startswith("writing: 50%")
    hidden = Progress("reading", shown=False)
    hidden.what = "writing"
    hidden.close()
    assert "reading: 0" not in pipe.getvalue() and len(pipe.getvalue().splitlines()) == 2


def test_what_does_not_tell_how_far_it_is_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(Progress, "EVERY", 0)
    bar = Progress("sweep", total=1.0, delay=0)
    bar.to(0.5, "trial 3")
    with bar.alive():
        time.sleep(1.3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "sweep: 50%, trial 3" in lines[1]
    bar.to(1.0)
    assert "left" not in capsys.readouterr().err, "it is done"


@pytest.mark.parametrize("command", ["train", "preflight", "sweep"])
def test_the_first_word_comes_before_the_libraries(command: str, tmp_path: Path) -> None:
    """On a terminal. The last line of the output says that torch was not imported yet when the first line was printed."""
    asked = (
        "import io, sys\n"
        "class Terminal(io.StringIO):\n"
        "    def isatty(self): return True\n"
        "    def write(self, text):\n"
        "        if 'loading' in text: print('torch' in sys.modules); raise SystemExit(7)\n"
        f"from training.{command} import main\n"
        "sys.stderr = Terminal()\n"
        "main(sys.argv[1:])\n"
    )
    config = "configs/sweep/sentence.yaml" if command == "sweep" else "configs/gpt/verses.yaml"
    language = ["--lang" if command == "preflight" else "--language" if command == "sweep" else "--log.language", "en"]
    options = ["--config", config, "--run_dir", str(tmp_path / "run"), *language]
    done = subprocess.run([sys.executable, "-c", asked, *options], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "False\n"), done.stderr
