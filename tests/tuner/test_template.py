"""The search.yaml that ``autoft init`` writes."""

import re

import pytest

from autoft.recipe import Config
from autoft.tuner.config import SearchConfig, resolve_config
from autoft.tuner.template import meanings_of, search_yaml

GIVEN = {"model.name": "resnet18", "data.source": "photos/"}


@pytest.fixture(scope="module")
def text():
    return search_yaml(resolve_config(None, [], GIVEN))


@pytest.mark.parametrize("every", [False, True], ids=["as it is", "every setting switched on"])
def test_it_says_what_would_be_without_it(text, tmp_path, every):
    file = tmp_path / "search.yaml"
    file.write_text(re.sub(r"^(\s*)#(\S)", r"\1\2", text, flags=re.MULTILINE) if every else text)
    assert resolve_config(file) == resolve_config(None, [], GIVEN)


def test_every_setting_stands_in_it(text):
    for name, section in resolve_config(None, [], GIVEN):
        assert re.search(rf"^#?{name}:", text, re.MULTILINE), name
        for key in type(section).model_fields if isinstance(section, Config) else ():
            assert re.search(rf"^  #?{key}:", text, re.MULTILINE), f"{name}.{key}"


def test_it_says_what_a_setting_means_and_which_words_it_takes(text):
    assert "# Side in pixels; default: the model's own.\n  #image_size:" in text
    assert "# One of: none, flip, light, strong.\n  #augment: none" in text
    assert "\n  # patience: Evaluations without improvement" in text
    assert meanings_of(SearchConfig) == {}
    assert max(map(len, text.splitlines())) < 120
