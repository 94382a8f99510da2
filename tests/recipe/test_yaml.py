"""The YAML loader: numbers, booleans, duplicates, tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.errors import ConfigError
from autoft.recipe import yaml

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20),
)
PLAIN = st.recursive(
    SCALARS,
    lambda parts: st.one_of(
        st.lists(parts, max_size=4), st.dictionaries(st.text("abcdefg_", min_size=1), parts, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_what_is_written_reads_back_unchanged(value):
    assert yaml.loads(yaml.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("1e-3", 0.001, id="float without a dot"),
        pytest.param("-2E+4", -20000.0, id="signed exponent"),
        pytest.param(".5", 0.5, id="leading dot"),
        pytest.param("1e3", 1000.0, id="large"),
        pytest.param("on", "on", id="on is a word"),
        pytest.param("off", "off", id="off is a word"),
        pytest.param("yes", "yes", id="yes is a word"),
        pytest.param("no", "no", id="no is a word"),
        pytest.param("true", True, id="true"),
        pytest.param("2020-01-01", "2020-01-01", id="a date is a word"),
        pytest.param("null", None, id="null"),
        pytest.param("12", 12, id="integer"),
        pytest.param("e3", "e3", id="no number"),
        pytest.param("1.2.3", "1.2.3", id="version"),
    ],
)
def test_scalars_are_read_as_people_mean_them(text, value):
    read = yaml.loads(text)
    assert read == value
    assert type(read) is type(value)


def test_duplicate_keys_are_an_error_with_both_lines():
    with pytest.raises(ConfigError, match=r"f.yaml: line 3: duplicate key 'a', first given on line 1"):
        yaml.loads("a: 1\nb: 2\na: 3\n", where="f.yaml")


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "a: [1", "\t- x", "a: *b"]
)
def test_what_is_not_plain_yaml_is_refused(text):
    with pytest.raises(ConfigError, match=r"f\.yaml: not readable as YAML"):
        yaml.loads(text, where="f.yaml")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        yaml.load(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        yaml.load(binary)
