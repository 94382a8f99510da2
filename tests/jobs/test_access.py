import pytest

from autoft.errors import ConfigError
from autoft.jobs.access import Access, access_to, check_address, is_loopback


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("head:8265", "http://head:8265"),
        ("https://ray.example.org/cluster", "https://ray.example.org/cluster"),
        ("http://[::1]:8265", "http://[::1]:8265"),
    ],
)
def test_an_address_is_a_dashboards_url(given, used):
    assert check_address(given) == used


@pytest.mark.parametrize(
    "given",
    [
        "ray://head:10001",
        "file:///etc/passwd",
        "os://path",
        "http://",
        "",
        "http://head:port",
        "http://head:0",
        "http://a?b",
    ],
)
def test_anything_else_is_refused_with_the_value(given):
    with pytest.raises(ConfigError, match="must be the URL of a Ray dashboard such as http://head:8265") as error:
        check_address(given)
    assert repr(given) in str(error.value)


def test_a_password_in_an_address_is_refused_and_not_told():
    with pytest.raises(ConfigError, match="must hold no user or password") as error:
        check_address("http://me:hidden@head:8265")
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8265", True),
        ("http://127.8.0.1", True),
        ("http://localhost:1", True),
        ("http://[::1]:8265", True),
        ("http://localhost.example.org", False),
        ("http://head:8265", False),
        ("http://0.0.0.0:8265", False),
        ("http://8.8.8.8", False),
    ],
)
def test_loopback_is_this_machine_alone(url, expected):
    assert is_loopback(url) is expected


@pytest.fixture(autouse=True)
def _empty_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))


def test_another_machine_without_a_token_is_refused():
    with pytest.raises(
        ConfigError, match=r"http://head:8265: is another machine, and there is no token.*RAY_AUTH_MODE"
    ):
        access_to("http://head:8265", {})


def test_this_machine_may_be_asked_without_a_token():
    assert access_to("localhost:8265", {}) == Access("http://localhost:8265")
    assert access_to("localhost:8265", {}).headers == {}


def test_the_address_comes_from_the_option_then_from_the_environment_then_it_is_this_machine():
    environment = {"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:1"}
    assert access_to("http://127.0.0.1:2", environment).address == "http://127.0.0.1:2"
    assert access_to(None, environment).address == "http://127.0.0.1:1"
    assert access_to(None, {}).address == "http://127.0.0.1:8265"


def test_the_token_goes_with_every_request_and_is_never_shown():
    access = access_to("http://head:8265", {"RAY_AUTH_TOKEN": "abcd"})
    assert access.headers == {"Authorization": "Bearer abcd"}
    assert "abcd" not in repr(access)
