import asyncio
import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from endpoints.connection import find_proxy
from endpoints.errors import ConfigurationError
from tests.endpoints.fake_endpoint import ask, endpoint, question

ANSWER = b'{"choices": [{"message": {"content": "Rest."}, "finish_reason": "stop"}]}'
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Proxy(BaseHTTPRequestHandler):
    """Answers every request itself, and remembers it."""

    seen: list[tuple[str, dict[str, str]]]

    def do_POST(self):
        self.seen.append((self.path, dict(self.headers)))
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def proxy():
    handler = type("Handler", (Proxy,), {"seen": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, handler.seen
        server.shutdown()
        thread.join()


def test_a_proxy_of_the_persons_own_is_gone_through_with_its_password(journal, monkeypatch, proxy):
    port, seen = proxy
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{port}")
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
    answer = asyncio.run(ask(endpoint("http://teacher.invalid/v1"), journal, question()))[0]
    assert answer.text == "Rest."
    ((path, headers),) = seen
    assert path == "http://teacher.invalid/v1/chat/completions"
    credentials = base64.b64encode(b"me:secret").decode()
    assert headers["Proxy-Authorization"] == f"Basic {credentials}"
    assert "Authorization" not in headers


def test_a_host_that_no_proxy_names_is_asked_directly(journal, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy[0]}")
    monkeypatch.setenv("no_proxy", "teacher.invalid")
    assert find_proxy("http://teacher.invalid/v1") is None
    assert find_proxy("http://other.invalid/v1") == f"http://127.0.0.1:{proxy[0]}"


def test_the_netrc_file_is_not_read(journal, monkeypatch, proxy, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine teacher.invalid login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy[0]}")
    asyncio.run(ask(endpoint("http://teacher.invalid/v1"), journal, question()))
    assert "Authorization" not in proxy[1][0][1]


def test_a_proxy_that_cannot_be_used_is_named(journal, monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="socks5"):
        asyncio.run(ask(endpoint("http://teacher.invalid/v1"), journal, question()))


def test_a_proxy_that_is_not_there_counts_as_an_endpoint_that_was_not_reached(monkeypatch):
    from endpoints.answers import AttemptFailed
    from endpoints.wire import Wire

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def run():
        wire = Wire(endpoint("http://teacher.invalid/v1"), {})
        try:
            await wire.ask(question())
        finally:
            await wire.close()

    with pytest.raises(AttemptFailed) as caught:
        asyncio.run(run())
    assert (caught.value.fault, caught.value.reached) == ("connection", False)
    assert not caught.value.may_be_billed
