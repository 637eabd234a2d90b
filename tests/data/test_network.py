"""Hosts that answer, that answer with an error, and that are not there."""

import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cckeras.data.network import check_network


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.server.asked.append(self.path)
        self.send_response(200 if self.path == "/there" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    handler = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(handler)
    monkeypatch.setattr(urllib.request, "_opener", opener)


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def nowhere():
    """Return a URL whose port nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("path", ["/there", "/not_there"])
def test_a_host_that_answers(server, path):
    check_network([server.url + path])
    assert server.asked == [path]


def test_of_a_host_one_url_is_tried(server):
    check_network([f"{server.url}/{number}" for number in range(3)])
    assert len(server.asked) == 1


def test_one_host_that_answers_will_do(server, nowhere):
    check_network([f"{nowhere}/a", f"{server.url}/there"])
    assert server.asked == ["/there"]


def test_no_host_that_answers(nowhere):
    with pytest.raises(OSError, match="refused"):
        check_network([f"{nowhere}/a", f"{nowhere}/b"])


def test_a_set_without_downloads_needs_none():
    check_network([])
