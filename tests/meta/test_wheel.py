"""A built wheel has all it needs, wherever it is installed and wherever one stands."""

import os
import subprocess
import sys
import zipfile

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(command, capture_output=True, text=True, check=True)
    return target


def python(program, installed, cwd):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_an_installed_wheel_finds_all_search_spaces(installed, root, tmp_path):
    program = (
        "import autoft.space as s; print(s.__file__); "
        "print(' '.join(sorted(n for n in s.names() if s.shipped(n)['space'])))"
    )
    where, names = python(program, installed, tmp_path).splitlines()
    assert where.startswith(str(installed))
    assert names.split() == sorted(path.stem for path in (root / "search_spaces").glob("*.yaml"))


def test_an_installed_wheel_knows_its_version_and_types(installed, tmp_path):
    assert python("import autoft; print(autoft.__version__)", installed, tmp_path)
    assert (installed / "autoft" / "py.typed").exists()


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel, package):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {source.name for source in package} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"autoft"}


def test_the_wheel_carries_the_licence_and_the_command(wheel):
    archive = zipfile.ZipFile(wheel)
    (licence,) = (name for name in archive.namelist() if name.endswith("LICENSE"))
    assert "Apache License" in archive.read(licence).decode()
    (commands,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "autoft = autoft.cli.main:run" in archive.read(commands).decode()
