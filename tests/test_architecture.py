"""Three rooms, one direction: who may import whom, read off the syntax trees, and what importing the mathematics loads."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("quantization", "theory_checks", "distill")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def imports(path, *, at_import_time=False):
    """The modules that a file names in its imports; with ``at_import_time`` those that importing it runs."""
    found, stack = set(), [ast.parse(path.read_text())]
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    while stack:
        node = stack.pop()
        if at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, [base, node.module]))
            for alias in node.names:
                # ``from package import module`` names a module; ``from module import name`` does not.
                found.add(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base)
        stack.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize(
    ("room", "others"),
    [("quantization", {"theory_checks", "distill"}), ("theory_checks", {"distill"}), ("distill", {"theory_checks"})],
)
def test_rooms_see_in_one_direction(room, others):
    for name, path in MODULES.items():
        if name.split(".")[0] == room:
            assert not {m for m in imports(path) if m.split(".")[0] in others}, name


@pytest.mark.parametrize("room", ROOMS)
def test_no_import_cycles(room):
    inside = {name: path for name, path in MODULES.items() if name.split(".")[0] == room}
    graph = {name: {m for m in imports(path, at_import_time=True) if m in inside and m != name} for name, path in inside.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the cycle in its message


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_unpickles(path):
    assert not {m.split(".")[0] for m in imports(path)} & {"pickle", "cPickle", "dill", "joblib", "shelve"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
            safe = {"torch.load": ("weights_only", True)}.get(ast.unparse(node.func), ("allow_pickle", False))
            assert safe in [(k.arg, getattr(k.value, "value", None)) for k in node.keywords], ast.unparse(node)


# Distributions whose module has another name, and those that are run and not imported.
_MODULES = {"POT": "ot", "scikit-learn": "sklearn", "pillow": "PIL", "faiss-cpu": "faiss"}
_TOOLS = {"accelerate", "mkdocs", "pytest-xdist", "ruff", "pyright", "scipy-stubs", "pre-commit", "hatchling", "editables"}


def test_every_requirement_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = {"core": project["dependencies"], **project["optional-dependencies"]}
    readers = {"core": ["quantization"], "distill": ["distill"], "theory": ["theory_checks"], "bench": ["benchmarks"]}
    readers |= {"dev": ["tests"], "docs": [], "estimator": ["quantization"], "plot": ["quantization"]}
    for extra, listed in requirements.items():
        text = "\n".join(path.read_text() for room in readers[extra] for path in (ROOT / room).rglob("*.py"))
        for name in (re.split(r"[>=\[]", line)[0] for line in listed):
            module = _MODULES.get(name, name)
            used = re.search(
                rf"^\s*(import|from) {module}\b|import_module\(.{module}\b|find_spec\(.{module}\b", text, re.MULTILINE
            )
            assert used or name in _TOOLS or name == project["name"], f"nothing in {readers[extra]} imports {name}"


def test_importing_the_mathematics_is_light():
    heavy = ("torch", "diffusers", "sklearn", "matplotlib", "numba", "hypothesis", "ot", "pandas", "polars", "scipy.stats")
    code = f"import sys, quantization; print(sorted(set({heavy}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "[]"


def test_quantizing_numpy_samples_does_not_load_torch():
    code = (
        "import sys, numpy as np, quantization as qz\n"
        "qz.quantize(np.random.default_rng(0).normal(size=(50, 2)), 3)\n"
        "print('torch' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.strip() == "False"
