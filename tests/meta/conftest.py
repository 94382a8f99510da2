import ast
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    path: Path

    @property
    def name(self):
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def tree(self):
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @property
    def room(self):
        """The first part below autoft/: a folder, or the stem of a file."""
        return self.path.relative_to(ROOT / "autoft").parts[0].removesuffix(".py")

    def imports(self):
        """(line, module) for every import, wherever it stands."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    yield from ((node.lineno, alias.name) for alias in node.names)
                case ast.ImportFrom(level=0):
                    yield node.lineno, node.module
                case ast.ImportFrom():
                    yield node.lineno, "RELATIVE"


def tracked(pattern):
    """The files of the repository that match a pattern: those git knows, and those it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    names = listed.stdout.split("\n") if listed.returncode == 0 else []
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Thirty photographs of noise, cats darker than dogs."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    random = np.random.default_rng(0)
    for name, darkest in (("cat", 0), ("dog", 120)):
        (folder / name).mkdir(parents=True)
        for number in range(15):
            pixels = random.integers(darkest, darkest + 120, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")
    return folder


@pytest.fixture(scope="session")
def package():
    return [Source(path) for path in sorted((ROOT / "autoft").rglob("*.py"))]


@pytest.fixture(scope="session")
def python_files(package):
    others = [path for folder in ("tests", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*package, *(Source(path) for path in others)]


@pytest.fixture(scope="session")
def repository_files(root):
    """All files of the repository; without git, those of its known folders."""
    if files := tracked("."):
        return files
    known = ("autoft", "tests", "examples", "search_spaces", "docs", ".ci")
    inside = [path for folder in known for path in (root / folder).rglob("*") if path.is_file()]
    return sorted({*(path for path in root.iterdir() if path.is_file()), *inside})
