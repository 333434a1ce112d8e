"""requirements.txt, its lock and the environment say the same; pyproject.toml promises the Pythons that they are for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from training.base import __version__

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = {"linux": ("Linux", "posix", "x86_64"), "darwin": ("Darwin", "posix", "arm64"), "win32": ("Windows", "nt", "AMD64")}
ENVIRONMENTS = [
    {
        "python_version": python, "python_full_version": f"{python}.4", "implementation_version": f"{python}.4", "sys_platform": system,
        "platform_system": name, "os_name": os_name, "platform_machine": machine, "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "platform_release": "", "platform_version": "", "extra": "",
    }
    for python in PYTHONS
    for system, (name, os_name, machine) in SYSTEMS.items()
]  # fmt: skip
HERE = {"extra": ""}  # with what `packaging` finds out about this environment


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(name: str) -> list[Requirement]:
    """What a file of requirements asks for, without comments, hashes and options."""
    lines = text(name).replace("\\\n", " ").splitlines()
    return [
        Requirement(re.split(r"\s+(?:#|--hash)", line)[0]) for line in lines if line.strip() and not line.lstrip().startswith(("#", "-"))
    ]


def pinned(listed: list[Requirement], environment: dict[str, str]) -> dict[str, str]:
    """The one version of each package that a list has for an environment."""
    versions: dict[str, str] = {}
    for r in listed:
        if r.marker is None or r.marker.evaluate(environment):
            (specifier,) = r.specifier
            name = canonicalize_name(r.name)
            assert specifier.operator == "==" and name not in versions, str(r)
            versions[name] = specifier.version
    return versions


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: f"{e['python_version']}-{e['sys_platform']}")
def test_every_requirement_stands_in_the_lock_with_its_version(environment: dict[str, str]) -> None:
    wanted, locked = pinned(requirements("requirements.txt"), environment), pinned(requirements("requirements.lock"), environment)
    assert {name: locked.get(name) for name in wanted} == wanted


def test_every_line_of_the_lock_has_hashes_and_no_place_of_its_own() -> None:
    lock = text("requirements.lock")
    entries = [line for line in lock.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]
    assert len(entries) > 100
    assert all(re.fullmatch(r"[\w.-]+==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line) for line in entries)
    assert "://" not in lock, "which index the packages come from is the reader's choice"


def needed(name: str, extras: set[str]) -> Iterator[Requirement]:
    """What an installed package needs in this environment."""
    for line in metadata.requires(name) or []:
        r = Requirement(line)
        if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield r


def test_the_lock_has_the_whole_environment() -> None:
    """What the installed packages need is in it, and in a version that they can use."""
    locked = pinned(requirements("requirements.lock"), HERE)
    waiting = [r for r in requirements("requirements.txt") if r.marker is None or r.marker.evaluate()]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        r = waiting.pop()
        name = canonicalize_name(r.name)
        assert name in locked and r.specifier.contains(locked[name], prereleases=True), str(r)
        if (key := (name, frozenset(r.extras))) not in done:
            done.add(key)
            waiting += needed(name, set(r.extras))
    assert len(done) > 60


def test_the_installed_environment_is_what_requirements_txt_says() -> None:
    wanted = pinned(requirements("requirements.txt"), HERE)
    assert {name: Version(metadata.version(name)).public for name in wanted} == wanted


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library reads TOML from Python 3.11 on")
def test_the_project_is_for_the_pythons_of_the_lock_and_has_one_version() -> None:
    import tomllib

    settings = tomllib.loads(text("pyproject.toml"))
    promised = SpecifierSet(settings["project"]["requires-python"])
    assert [python for minor in range(8, 20) if promised.contains(python := f"3.{minor}")] == list(PYTHONS)
    dynamic = settings["tool"]["setuptools"]["dynamic"]
    assert set(settings["project"]["dynamic"]) == {"version", "dependencies"}
    assert dynamic == {"version": {"attr": "training.base.__version__"}, "dependencies": {"file": ["requirements.txt"]}}
    assert Version(__version__)
