import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "artifacts",
    "benchmarks",
    "datagen",
    "endpoints",
    "engines",
    "evaluation",
    "flows",
    "judging",
    "medfactory",
    "serving",
    "tasks",
    "training",
    "validation",
)
HEAVY = ("torch", "trl", "transformers", "great_expectations", "openai", "prefect")


def test_the_layers_hold():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_in_three_lines_what_lives_there(package):
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
    assert docstring is not None
    assert len([line for line in docstring.splitlines() if line.strip()]) == 3


def test_no_folder_is_a_drawer():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not [p for name in PACKAGES for p in (ROOT / name).rglob("*.py") if p.stem in drawers]


def test_the_command_line_imports_nothing_heavy():
    program = (
        f"import sys, medfactory.cli\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_module_of_the_pure_packages_imports_without_torch_or_prefect():
    pure = [n for n in PACKAGES if n not in ("flows", "tasks", "medfactory", "benchmarks")]
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in pure
        for path in sorted((ROOT / name).rglob("*.py"))
        if path.name != "__init__.py" and path.stem != "run"
    ]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_tests_stand_in_packages():
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)
