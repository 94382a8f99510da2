"""The commands that README.md and the pages of docs/ show are run, in order, with a small budget."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from autoft.tuner.tables import HISTORY_COLUMNS, TRIAL_COLUMNS

ROOT = Path(__file__).parents[2]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
}
README = PAGES["README.md"]
TEXT = "\n".join(PAGES.values())


def fenced(language, text=TEXT):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text):
    return [line for block in fenced("sh", text) for line in block.splitlines() if line.strip()]


def links(text):
    return re.findall(r"\]\((?!https?:)([^)]+)\)", text)


def sections(text):
    """The names by which links reach the headings of a page."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


PLAIN = [f"--set={part}=off" for part in ("confirm", "search.probe", "search.gains", "search.forgetting")]
SMALL = {
    "search": [
        "--num-samples=1",
        "--set=data.image_size=32",
        "--set=stages.head.epochs=1",
        "--set=stages.tune.epochs=1",
        *PLAIN,
    ],
    "plan": ["--set=data.image_size=32"],
    "resume": ["--time-budget=1m"],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, photos):
    """A user's folder, as the pages suppose it: photos/ and search.yaml, and the run of make demo."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(photos, folder / "photos")
    Image.new("RGB", (48, 32)).save(folder / "new.jpg")
    (text,) = (block for block in fenced("yaml") if block.startswith("# search.yaml"))
    (folder / "search.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(workspace, tmp_path_factory):
    environment = {**os.environ, "AUTOFT_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}

    def run(command):
        return subprocess.run(
            command, cwd=workspace, env=environment, capture_output=True, text=True, check=False, timeout=240
        )

    return run


def shortened(command):
    """The command as it is run here: this interpreter's autoft, and a small budget."""
    name, verb, *options = shlex.split(command)
    assert Path(name).name == "autoft"
    return [sys.executable, "-m", "autoft", verb, *options, *SMALL.get(verb, [])]


def test_the_readme_shows_all_verbs():
    shown = {shlex.split(command)[1] for command in commands(README)}
    assert {"plan", "search", "resume", "best", "train", "groups"} <= shown


def demo_command(root):
    """What `make demo` runs."""
    made = subprocess.run(["make", "--dry-run", "demo"], cwd=root, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in made.splitlines() if "autoft search --config" in line)
    return line.replace("examples/", f"{root}/examples/")


@pytest.mark.slow
@pytest.mark.parametrize("command", commands(TEXT))
def test_a_command_of_the_pages_runs(command, run, root):
    done = run(shortened(demo_command(root) if command == "make demo" else command))
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_the_search_of_the_readme_runs_from_python(run, workspace):
    (program,) = (block for block in fenced("python") if "autoft.search(" in block)
    program = program.replace(
        "num_samples=24",
        f"num_samples=1, overrides={['data.image_size=32', *(each.removeprefix('--set=') for each in PLAIN)]}",
    )
    assert "num_samples=1" in program
    (workspace / "readme.py").write_text(
        f"if __name__ == '__main__':\n{re.sub('^', '    ', program, flags=re.MULTILINE)}"
    )
    done = run([sys.executable, "readme.py"])
    assert done.returncode == 0, done.stderr
    assert (workspace / "best.yaml").is_file()


def leads_somewhere(link, page):
    """Whether a link of a page, relative to the folder that the page is in, reaches a file and its section."""
    name, _, section = link.partition("#")
    target = (page.parent / name) if name else page
    return target.exists() and (not section or section in sections(target.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page, root):
    found = links(PAGES[page])
    assert found
    assert [link for link in found if not leads_somewhere(link, root / page)] == []


def test_the_check_of_links_sees_what_is_not_there(root):
    page = root / "README.md"
    assert leads_somewhere("docs/search.md#retention", page)
    assert not leads_somewhere("docs/search.md#no-section", page)
    assert not leads_somewhere("search.md", page)


def test_the_readme_leads_to_every_page():
    assert {page for page in PAGES if page != "README.md"} <= {link.partition("#")[0] for link in links(README)}


def test_the_pages_name_every_shipped_search_space(root):
    names = {path.stem for path in (root / "search_spaces").glob("*.yaml")}
    assert {name for name in names if f"`{name}`" not in TEXT} == set()


def test_the_pages_name_the_columns_of_the_tables():
    assert f"`{', '.join(TRIAL_COLUMNS)}`" in TEXT
    assert f"`{', '.join(HISTORY_COLUMNS)}`" in TEXT
