"""Names of sources, checked without reading anything."""

import pytest

from autoft.data.named import BUILT_IN, check_named
from autoft.data.sources.builtin import BUILTINS
from autoft.errors import DataError


def test_every_built_in_name_has_data_and_all_data_have_a_name():
    assert tuple(BUILTINS) == BUILT_IN


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz"])
def test_an_archive_is_to_be_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match=r"an archive .* is not read; unpack it, and give the folder"):
        check_named(tmp_path / name)
