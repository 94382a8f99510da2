import importlib
import inspect
import subprocess
import sys

import pytest

import autoft


def test_there_are_fewer_than_fifteen_public_names():
    assert len(autoft.__all__) < 15


@pytest.mark.parametrize("name", autoft.__all__)
def test_every_public_name_can_be_looked_up_and_has_a_docstring(name):
    value = getattr(autoft, name)
    assert isinstance(value, str) or inspect.getdoc(value)


@pytest.mark.parametrize("name", sorted(set(autoft.__all__) - {"__version__"}))
def test_a_public_name_is_the_object_of_its_home(name):
    assert getattr(autoft, name) is getattr(importlib.import_module(autoft._HOMES[name]), name)


def test_exactly_the_public_names_are_listed_before_they_are_used():
    listed = subprocess.run(
        [sys.executable, "-c", "import autoft; print(*dir(autoft))"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == sorted(autoft.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'autoft' has no attribute 'serach'"):
        autoft.serach  # noqa: B018


def test_no_module_bears_the_name_of_a_public_name(root):
    modules = {path.stem for path in (root / "autoft").iterdir()}
    assert modules & set(autoft.__all__) == set()


def test_the_version_is_the_installed_one(root):
    assert f'version = "{autoft.__version__}"' in (root / "pyproject.toml").read_text()
