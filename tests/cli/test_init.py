"""``autoft init``."""

import pytest

from autoft.cli.init import init
from autoft.errors import ConfigError
from autoft.tuner.config import resolve_config


def test_it_writes_a_search_that_can_be_run_and_never_over_a_file(printed, tmp_path):
    file = tmp_path / "search.yaml"
    told = printed("init", file, "--model", "vit_tiny_patch16_224", "--data", "pictures/")
    assert f"autoft search -c {file}" in told
    config = resolve_config(file)
    assert (config.model.name, config.data.source) == ("vit_tiny_patch16_224", "pictures/")
    with pytest.raises(ConfigError, match="is there already; give another file name"):
        init(file)
