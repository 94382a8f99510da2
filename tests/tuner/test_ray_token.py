import stat

import pytest

from autoft.errors import ConfigError
from autoft.tuner.ray_token import find_token, provide_token, token_file


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def written(path, text="abcd\n", mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_token_is_looked_for_where_ray_looks_in_this_order(tmp_path):
    assert find_token({}) is None
    written(token_file(), "home")
    assert find_token({}) == "home"
    environment = {"RAY_AUTH_TOKEN_PATH": str(written(tmp_path / "other", "named"))}
    assert find_token(environment) == "named"
    assert find_token({**environment, "RAY_AUTH_TOKEN": "given"}) == "given"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o602])
def test_a_file_that_others_can_open_is_refused_with_the_remedy(mode):
    file = written(token_file(), "secret", mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 600 {file}") as error:
        find_token({})
    assert "secret" not in str(error.value)


def test_a_named_file_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="RAY_AUTH_TOKEN_PATH: must name a file, got 'nowhere'"):
        find_token({"RAY_AUTH_TOKEN_PATH": "nowhere"})


@pytest.mark.parametrize("text", ["", "two words", "a\nb", "tök", "a\x00b"])
def test_a_file_holds_one_token_and_an_error_does_not_show_it(text):
    written(token_file(), text)
    with pytest.raises(ConfigError, match="must hold one token and nothing else") as error:
        find_token({})
    assert not text or text not in str(error.value)


def test_a_token_is_made_for_its_owner_alone():
    provide_token({})
    assert mode_of(token_file()) == 0o600
    token = find_token({})
    assert len(token) == 64
    provide_token({})
    assert find_token({}) == token
    assert [path.name for path in token_file().parent.iterdir()] == ["auth_token"]


def test_a_token_that_others_could_read_is_closed_to_them_and_stays():
    written(token_file(), "abcd", 0o644)
    provide_token({})
    assert mode_of(token_file()) == 0o600
    assert find_token({}) == "abcd"


@pytest.mark.parametrize(
    "environment", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "abcd"}, {"RAY_AUTH_TOKEN_PATH": "elsewhere"}]
)
def test_nothing_is_made_where_the_environment_names_another_place_or_none(environment):
    provide_token(environment)
    assert not token_file().exists()


def test_a_home_that_cannot_be_written_to_is_left_to_ray(home):
    (home / ".ray").write_text("a file")
    provide_token({})
    assert (home / ".ray").read_text() == "a file"
