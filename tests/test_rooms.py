"""The house (ARCHITECTURE.md): which room may import which. No room imports upward, nothing goes in a circle, no command is imported."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [
    *(f"training.{room}" for room in ("base", "settings", "corpus", "model", "tasks", "quality", "diagnosis", "setup", "estimate", "loop")),
    "training.sweeps", "inference", "training.scoring", "training.publish", "training", "serving", "app",
]  # fmt: skip
HANDED_DOWN = {("training.sweep", "training.train"), ("training.preflight", "training.train")}  # `train`, for the rooms that need it
FILES = [ROOT / "app.py", *(path for top in ("training", "inference", "serving") for path in sorted((ROOT / top).rglob("*.py")))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def room(module: str) -> int:
    """Where a module's room stands in the order; a module directly in training/ is a command."""
    while module not in ROOMS:
        module = module.rpartition(".")[0]
    return ROOMS.index(module)


def imports(module: str) -> set[str]:
    """Modules of ours that this one imports, also inside functions and for types alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(MODULES) - {module}


IMPORTS = {module: imports(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_room_or_one_below(module: str) -> None:
    assert not [other for other in IMPORTS[module] if room(other) > room(module)]


def test_no_module_imports_a_command() -> None:
    commands = {name for name in MODULES if name.startswith("training.") and name.count(".") == 1 and MODULES[name].name != "__init__.py"}
    assert {(m, other) for m in MODULES for other in IMPORTS[m] if other in commands} == HANDED_DOWN


def test_no_import_goes_in_a_circle() -> None:
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


def test_the_page_about_the_house_names_every_file() -> None:
    rows = [row.split("|") for row in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines() if row.startswith("| `")]
    named = {row[1].strip(" `"): row[3] for row in rows if len(row) == 5}
    for module, path in MODULES.items():
        folder = path.parent.relative_to(ROOT).as_posix()
        if path.name != "__init__.py" and folder.startswith(("training", "inference")):
            row = named[f"{folder}/" if folder != "training" else "training/*.py"]
            assert f"`{path.stem}`" in row, f"{module} is missing in ARCHITECTURE.md"
