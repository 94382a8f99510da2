"""The repository names no machine, and nothing that only its authors have."""

import re

import pytest

FORBIDDEN = {
    "a path of one machine": r"/work/(?!dir\b)|/tmp/(?:venv|plan)\b|/root/|/home/(?!autoft\b)\w+|/opt/(?!autoft\b)\w+",
    "a private host": r"\b\w+\.(?:internal|corp|lan)\b(?!\.)",
    "a token": r"\b(?:ghp|gho|github_pat|hf|sk|xox[bp])_[A-Za-z0-9]{16,}\b",
    "an address that is not loopback": r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b",
}
SUFFIXES = {"", ".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".txt", ".cfg", ".ini", ".json"}


def found_in(text):
    return [f"{what}: {found[0]}" for what, pattern in FORBIDDEN.items() for found in re.finditer(pattern, text)]


def test_no_file_has_forbidden_words(repository_files):
    checked = [path for path in repository_files if path.suffix in SUFFIXES and path.name != "test_words.py"]
    assert len(checked) > 50
    found = {path.name: words for path in checked if (words := found_in(path.read_text(encoding="utf-8")))}
    assert found == {}


@pytest.mark.parametrize("text", ["see /work/main", "/root/.cache", "/opt/pypi", "host.internal", "192.168.1.7"])
def test_the_check_itself_sees(text):
    assert found_in(text)


def test_spelling_of_optimisation_is_one(package):
    american = re.compile(r"\b(?:O|o)ptimization\b")
    assert [source.name for source in package if american.search(source.path.read_text())] == []
