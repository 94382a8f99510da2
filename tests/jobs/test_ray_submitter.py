"""What a dashboard, or something else at its address, may answer."""

import http.server
import threading

import pytest

from autoft.errors import ClusterError
from autoft.jobs.access import Access
from autoft.jobs.ray_submitter import connect

NO_AGENT = "No available agent to submit job, please try again later."


@pytest.fixture
def answering():
    """Starts a server on this machine that gives the same answer to everything."""
    servers = []

    def start(status, body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        pytest.param(401, "Unauthorized", "asks for a token, and there is none here; write", id="no token"),
        pytest.param(403, "Forbidden", "refuses the token from RAY_AUTH_TOKEN", id="wrong token"),
        pytest.param(404, "Not Found", "answers, but not as a Ray dashboard does", id="another server"),
        pytest.param(200, "<html>", "answers, but not as a Ray dashboard does", id="a web page"),
        pytest.param(200, "{}", "answers, but not as a Ray dashboard does", id="another API"),
        pytest.param(
            500, "ValueError: Job with submission_id a already exists.\n.", "a job of this id already", id="twice"
        ),
        pytest.param(500, NO_AGENT, "52365.*start the head with --dashboard-agent-listen-port", id="port clash"),
        pytest.param(
            502, "Traceback\n  x\nValueError: bad", "refuses with HTTP status 502: ValueError: bad", id="other"
        ),
    ],
)
def test_an_answer_that_is_no_success_becomes_a_sentence(status, body, told, answering):
    address = answering(status, body)
    with pytest.raises(ClusterError, match=told) as error:
        connect(Access(address, "hidden-token"))
    assert str(error.value).startswith(f"{address}: ")
    assert "hidden-token" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_address_where_nobody_listens_is_told(answering):
    with pytest.raises(ClusterError, match=r"cannot be reached .*usually port 8265"):
        connect(Access("http://127.0.0.1:9"))
