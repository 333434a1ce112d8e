"""What the written pages promise: files that exist, commands that are spelt right, nothing left to fill in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "README.zh.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/log.md", "data/README.md", "data/phrasebook/README.md"]
PARTS = ("train", "test_combinations")
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("configs/*/*.yaml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES + CONFIGS)
def test_nothing_is_left_to_fill_in(name: str) -> None:
    assert not re.search(r"@[A-Za-z_]+@|TODO|FIXME|XXX", read(name))


@pytest.mark.parametrize("name", PAGES)
def test_linked_and_named_files_exist(name: str) -> None:
    page, folder = read(name), (ROOT / name).parent
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert link.startswith("http") or (folder / link).exists(), link
    for config in re.findall(r"configs[/\\][\w/\\]+\.yaml", page):
        assert (ROOT / config.replace("\\", "/")).exists() or config == "configs/x.yaml", config
    for script in re.findall(r"(?:python3?|launch)[^\n]*? ((?:training|benchmarks|data)/\w+\.py)", page):
        assert (ROOT / script).exists(), script


def test_the_sentences_shown_are_of_the_phrasebooks_kind_and_new_to_it() -> None:
    config = yaml.safe_load(read("configs/translation/phrasebook.yaml"))
    shown = [*config["evaluation"]["prompts"], *(re.findall(r'tokenizer\("([^"]+)"', read(page))[0] for page in PAGES[:2])]
    rows = {part: {json.loads(line)["chinese"] for line in read(f"data/phrasebook/{part}.jsonl").splitlines()} for part in PARTS}
    assert set(shown) <= rows["test_combinations"] and not set(shown) & rows["train"]


def test_the_figures_of_the_shipped_models_are_the_scoreboards() -> None:
    board = read("docs/scoreboard.md")
    pages = [read(name) for name in ("README.md", "README.zh.md", "models/README.md")]
    for test in ("dev-tatoeba", "test-newstest2017", "dev-flores"):
        found = re.search(rf"## {test}, .*?\n\| zh_en \| ([\d.]+) ±", board, re.DOTALL)
        assert found and all(re.search(rf"\b{found[1]}\b", page) for page in pages), (test, found)
    for name in ("novels", "stray_birds"):
        found = re.search(rf"\| {name} \| [\d,]+ \| [\d.]+ \| ([\d.]+) \|", board)
        assert found and all(f"{float(found[1]):.2f}" in page for page in pages), (name, found)
    copied = re.search(r"\| stray_birds_overfitted \|.*\| 0\.7 \|.*\| (\d+%) \| (\d+) \|", board)
    assert copied and f"{copied[1]} of what it writes" in pages[2] and f"at most {copied[2]} characters" in pages[2]


@pytest.mark.skipif(not shutil.which("make") or os.name != "posix", reason="make is not installed")
@pytest.mark.parametrize(("minor", "marked", "done"), [(9, False, []), (11, False, ["-m venv --clear .venv"]), (11, True, [])])
def test_make_replaces_a_half_made_environment_and_refuses_other_pythons(tmp_path: Path, minor: int, marked: bool, done: list[str]) -> None:
    for name in ("Makefile", "requirements.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    if marked:
        (tmp_path / ".venv" / "installed").touch()
        os.utime(tmp_path / ".venv" / "installed", (1, 1))  # older than requirements.txt
    for python, work in (
        (tmp_path / "other", f'[ "$1" = -c ] && exit {int(minor < 10)}; echo "$@" >> made'),
        (tmp_path / ".venv/bin/python", ""),
    ):
        python.write_text(f"#!/bin/sh\n{work}\n")
        python.chmod(0o755)
    run = subprocess.run(["make", ".venv/installed", "PYTHON=./other"], cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode == 0) == (minor >= 10), run.stderr
    assert minor >= 10 or "./other is not one of Python 3.10 to 3.13" in run.stderr
    made = tmp_path / "made"
    assert (made.read_text().splitlines() if made.exists() else []) == done
    assert (tmp_path / ".venv" / "installed").exists() == (minor >= 10)


def test_every_config_is_in_both_readmes_and_both_have_the_same_shape() -> None:
    english, chinese = read("README.md"), read("README.zh.md")
    for config in CONFIGS:
        kind, stem = Path(config).parent.name, Path(config).stem
        named = f"{kind}/{stem}" if not stem.endswith("_big") else "`_big`"
        assert kind in ("accelerate", "sweep") or (named in english and named in chinese), config
    assert len(re.findall("^## ", english, re.M)) == len(re.findall("^## ", chinese, re.M))
    assert len(re.findall("^```", english, re.M)) == len(re.findall("^```", chinese, re.M))
    assert english.startswith("---\ntitle: Stray Bird · 飞鸟\n")
