import os
import re
import subprocess
import tomllib

import pytest
import yaml

EXPECTED = {
    ".ci/run",
    ".dockerignore",
    ".editorconfig",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "docs/cluster.md",
    "docs/figures.md",
    "docs/how-do-i.md",
    "docs/search.md",
    "pyproject.toml",
}


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_the_expected_files_are_there(root):
    assert {name for name in EXPECTED if not (root / name).is_file()} == set()


def test_ci_runs_make_test_and_can_be_executed(root):
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


@pytest.mark.parametrize("target", ["demo", "test", "format", "lint", "types", "tests"])
def test_make_knows_the_target_and_installs_first(target, root, tmp_path):
    command = ["make", "--dry-run", target, f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "-m venv" in done.stdout
    assert f'--editable ".[{"demo" if target == "demo" else "test"}]"' in done.stdout


def test_make_installs_nothing_again_until_the_project_file_changes(root, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    stamp = tmp_path / ".installed-test"
    stamp.touch()
    command = ["make", "--dry-run", "lint", f"VENV={tmp_path}"]
    assert "pip install" not in subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    os.utime(stamp, (0, 0))
    assert "pip install" in subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def test_make_says_which_python_it_needs(root, tmp_path):
    command = ["make", "lint", f"VENV={tmp_path / 'venv'}", "PYTHON=false"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "autoft needs Python 3.11 or newer" in done.stderr


def test_dependencies_have_lower_bounds_and_no_pins(project):
    names = re.compile(r"[a-z0-9-]+(\[[a-z]+\])?>=\d+(\.\d+)*")
    extras = project["project"]["optional-dependencies"]
    required = [*project["project"]["dependencies"], *(name for extra in extras.values() for name in extra)]
    own = re.compile(r"autoft\[[a-z,]+\]")
    assert [name for name in required if not names.fullmatch(name) and not own.fullmatch(name)] == []


def test_every_opt_out_of_the_linter_has_its_reason(root):
    lines = (root / "pyproject.toml").read_text().splitlines()
    codes = [line for line in lines if re.fullmatch(r'    "[A-Z]+[0-9]*",.*', line)]
    assert len(codes) > 10
    assert [line for line in codes if "#" not in line] == []


def test_the_changelog_knows_the_version(project, root):
    assert f"## {project['project']['version']}" in (root / "CHANGELOG.md").read_text()


def test_the_image_is_built_in_stages_and_does_not_run_as_root(root):
    lines = (root / "Dockerfile").read_text().splitlines()
    assert sum(line.startswith("FROM ") for line in lines) > 1
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    assert any(line.startswith("USER ") and line != "USER root" for line in lines[last:])


def test_the_image_serves_a_cluster_with_and_without_gpus(root):
    text = (root / "Dockerfile").read_text()
    stages = [line for line in text.splitlines() if line.startswith("FROM ")]
    assert all("${BASE}" in line for line in stages), "all stages need the Python of one base"
    assert text.index("ARG BASE=") < text.index("FROM ")
    for part in ("[cluster,demo,postgres]", "wget", "rsync", "RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0"):
        assert part in text
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in text
    assert "ln -s /opt/autoft/bin/autoft /opt/autoft/bin/ray /usr/local/bin/" in text


def test_what_the_image_copies_is_not_ignored(root):
    kept = {line.lstrip("!") for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"autoft", "search_spaces", "pyproject.toml", "README.md", "LICENSE"} <= kept


def test_every_search_space_begins_with_a_comment_of_intent_dimensions_and_cost(root):
    for path in (root / "search_spaces").glob("*.yaml"):
        text = path.read_text()
        assert text.startswith("#"), path.name
        assert isinstance(yaml.safe_load(text), dict), path.name
