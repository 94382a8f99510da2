"""The floors of the house, read from the imports themselves."""

import ast
import fnmatch
import subprocess
import sys

import pytest

FLOORS = {
    "errors": 0,
    "files": 0,
    "heap": 0,
    "interrupts": 0,
    "lazily": 0,
    "streams": 0,
    "recipe": 1,
    "record": 1,
    "remote": 1,
    "shards": 1,
    "statistics": 1,
    "data": 2,
    "model": 2,
    "space": 2,
    "pruning": 2,
    "study": 2,
    "cache": 3,
    "training": 4,
    "tuner": 5,
    "doctor": 6,
    "report": 6,
    "export": 6,
    "jobs": 6,
    "cli": 8,
}
ABOVE_ALL = {"__init__", "__main__"}
FREE_NEIGHBOURS = {0}

ROOMS_OF_OTHERS = {
    "ray": ("autoft/tuner/ray_*.py", "autoft/jobs/*"),
    "aiohttp": ("autoft/jobs/*",),
    "requests": ("autoft/jobs/*",),
    "timm": ("autoft/model/*", "autoft/data/*", "autoft/training/optim.py"),
    "optuna": ("autoft/space/*", "autoft/study/*", "autoft/tuner/sampler*.py"),
    "cmaes": ("autoft/tuner/sampler_kinds.py",),
    "plotly": ("autoft/report/*",),
    "pyarrow": ("autoft/remote/*",),
    "typer": ("autoft/cli/*",),
    "rich": ("autoft/cli/*",),
    "yaml": ("autoft/recipe/yaml.py",),
}


def broken_floors(sources):
    for source in sources:
        if source.room in ABOVE_ALL:
            continue
        for line, module in source.imports():
            parts = module.split(".")
            if parts[0] != "autoft":
                if module == "RELATIVE":
                    yield f"{source.name}:{line}: relative import"
                continue
            target = parts[1] if len(parts) > 1 else "__init__"
            if target == source.room or (target == "__init__" and source.room == "cli"):
                continue
            if target not in FLOORS:
                yield f"{source.name}:{line}: imports autoft.{target}, which has no floor"
            elif not _below(source.room, target):
                yield f"{source.name}:{line}: {source.room} must not know {target}"


def _below(room, target):
    if FLOORS[target] == FLOORS[room]:
        return FLOORS[room] in FREE_NEIGHBOURS
    return FLOORS[target] < FLOORS[room]


def strangers(sources):
    """Third parties outside of their room; an import for type checkers alone is none."""
    for source in sources:
        typing_only = _lines_for_type_checkers(source)
        for line, module in source.imports():
            allowed = ROOMS_OF_OTHERS.get(module.split(".")[0])
            if allowed and line not in typing_only and not any(fnmatch.fnmatch(source.name, p) for p in allowed):
                yield f"{source.name}:{line}: {module} belongs to {' '.join(allowed)}"


def _lines_for_type_checkers(source):
    blocks = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return {line for block in blocks for line in range(block.lineno, block.end_lineno + 1)}


def test_every_room_has_a_floor(package):
    assert {source.room for source in package} - ABOVE_ALL <= FLOORS.keys()


def test_imports_go_down_only_and_neighbours_do_not_know_each_other(package):
    assert list(broken_floors(package)) == []


def test_third_parties_stay_in_their_rooms(package):
    assert list(strangers(package)) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("data/a.py", "from autoft.model import x", "data must not know model"),
        ("recipe/a.py", "def f():\n    import autoft.tuner.search", "recipe must not know tuner"),
        ("tuner/a.py", "from autoft.helpers import x", "has no floor"),
        ("tuner/a.py", "from . import x", "relative import"),
        ("tuner/a.py", "import ray.tune", "ray.tune belongs to"),
        ("study/a.py", "from timm import layers", "timm belongs to"),
        ("tuner/ray_a.py", "from ray import tune\nfrom autoft.training import x", None),
        ("tuner/a.py", "if TYPE_CHECKING:\n    import optuna", None),
        ("cli/a.py", "from autoft.tuner.search import search", None),
    ],
)
def test_the_check_itself_sees_what_is_forbidden(name, text, expected, monkeypatch, tmp_path, package):
    source = type(package[0])
    (tmp_path / "autoft" / name).parent.mkdir(parents=True)
    (tmp_path / "autoft" / name).write_text(text)
    monkeypatch.setitem(source.name.fget.__globals__, "ROOT", tmp_path)
    checked = [source(tmp_path / "autoft" / name)]
    found = [*broken_floors(checked), *strangers(checked)]
    assert (expected is None) == (found == [])
    assert expected is None or expected in found[0]


@pytest.mark.parametrize(
    "program",
    [
        "import autoft.cli.following, autoft.jobs.fetch, autoft.jobs.sending",
        "import autoft; autoft.Recipe, autoft.Stage, autoft.Evaluation, autoft.Decision, autoft.AutoftError",
        "import autoft.cli.main as m\ntry: m.app(['--help'])\nexcept SystemExit: pass",
        "import autoft.cli.main as m\ntry: m.app(['search', '--help'])\nexcept SystemExit: pass",
        "import autoft.cli.main as m\ntry: m.app(['--version'])\nexcept SystemExit: pass",
        "from autoft.tuner.observer import Silent",
    ],
    ids=[
        "following and fetching jobs",
        "import autoft",
        "autoft --help",
        "autoft search --help",
        "autoft --version",
        "an observer",
    ],
)
def test_nothing_heavy_is_loaded_by(program):
    program += "\nimport sys; print(sorted({'torch', 'ray', 'timm', 'optuna', 'pandas', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("data", "setting", "told"),
    [("digits", "search.num_sample=3", "num_samples"), ("no/photos", "search.num_samples=3", "no/photos")],
    ids=["a setting", "data"],
)
def test_what_is_wrong_is_told_before_anything_large_is_loaded(data, setting, told):
    program = f"""
import sys, autoft
try:
    autoft.search("resnet18", {data!r}, overrides=[{setting!r}])
except autoft.AutoftError as error:
    print({told!r} in str(error), sorted({{"torch", "ray", "timm", "pandas", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
