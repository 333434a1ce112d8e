"""What the written pages promise: files that exist, commands that are spelt right, nothing left to fill in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "README.zh.md", "ARCHITECTURE.md", "docs/log.md", "data/README.md", "data/phrasebook/README.md"]
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


def test_every_config_is_in_both_readmes_and_both_have_the_same_shape() -> None:
    english, chinese = read("README.md"), read("README.zh.md")
    for config in CONFIGS:
        kind, stem = Path(config).parent.name, Path(config).stem
        named = f"{kind}/{stem}" if not stem.endswith("_big") else "`_big`"
        assert kind in ("accelerate", "sweep") or (named in english and named in chinese), config
    assert len(re.findall("^## ", english, re.M)) == len(re.findall("^## ", chinese, re.M))
    assert len(re.findall("^```", english, re.M)) == len(re.findall("^```", chinese, re.M))
    assert english.startswith("---\ntitle: Stray Bird · 飞鸟\n")


def test_the_architecture_names_every_room() -> None:
    page = read("ARCHITECTURE.md")
    for path in [*ROOT.glob("training/*.py"), *ROOT.glob("serving/*.py")]:
        assert path.name == "__init__.py" or path.name in page, path.name
