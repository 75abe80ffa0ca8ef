import asyncio
import base64
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from endpoints.answers import AttemptFailed
from endpoints.connection import find_proxy
from endpoints.errors import ConfigurationError
from endpoints.wire import Wire
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


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy():
    handler = type("Handler", (Proxy,), {"seen": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server, serving(server):
        yield server.server_port, handler.seen


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


def ask_once(base_url):
    """The failure of one attempt."""

    async def run():
        wire = Wire(endpoint(base_url), {})
        try:
            await wire.ask(question())
        finally:
            await wire.close()

    with pytest.raises(AttemptFailed) as caught:
        asyncio.run(run())
    return caught.value


def test_a_proxy_that_is_not_there_counts_as_an_endpoint_that_was_not_reached(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    failed = ask_once("http://teacher.invalid/v1")
    assert (failed.fault, failed.reached, failed.may_be_billed) == ("connection", False, False)


def test_a_host_that_takes_no_connection_is_given_up_soon_and_was_not_reached(monkeypatch):
    monkeypatch.setattr("endpoints.connection.CONNECT_SECONDS", 0.2)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # what is not accepted fills its queue, and further ones wait
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        failed = ask_once(f"http://127.0.0.1:{full.getsockname()[1]}/v1")
    assert (failed.fault, failed.reached) == ("connection", False)
    assert "no connection within" in failed.detail


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_an_endpoint_whose_certificate_nobody_vouches_for_is_not_asked(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1"
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", *made.split(), *files], check=True, capture_output=True)
    handler = type("Handler", (Proxy,), {"seen": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with serving(server):
            failed = ask_once(f"https://127.0.0.1:{server.server_port}/v1")
    assert (failed.fault, failed.reached) == ("connection", False)
    assert "certificate" in failed.detail.lower()
    assert handler.seen == []
