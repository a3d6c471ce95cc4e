"""Weights of published networks: found, downloaded once, and refused when they have changed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ddgan.metrics.feature_weights import Weights

CONTENT = b"weights" * 1000


class Server(ThreadingHTTPServer):
    """Serves CONTENT at /w.pt, a part of it at /cut.pt, and nothing else; counts what it was asked."""

    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in ("/w.pt", "/cut.pt"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT if self.path == "/w.pt" else CONTENT[:100])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TEST_WEIGHTS", raising=False)
    return tmp_path / "cache"


def test_it_is_downloaded_once(server: Server, own_cache: Path) -> None:
    weights = Weights("net", f"{server.url}/w.pt", "TEST_WEIGHTS")
    path, checksum = weights.fetch()
    assert path == own_cache / "weights" / "w.pt"
    assert path.read_bytes() == CONTENT
    assert checksum == hashlib.sha256(CONTENT).hexdigest()
    assert weights.fetch() == (path, checksum)
    assert server.asked == ["/w.pt"]
    assert (own_cache / "weights" / "net.sha256").read_text() == checksum


def test_a_changed_file_is_refused(server: Server, own_cache: Path) -> None:
    weights = Weights("net", f"{server.url}/w.pt", "TEST_WEIGHTS")
    path, _ = weights.fetch()
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(ValueError, match=r"first used with .* restore the first file, or delete"):
        weights.fetch()
    (own_cache / "weights" / "net.sha256").unlink()
    assert weights.fetch()[1] == hashlib.sha256(CONTENT + b"!").hexdigest()


def test_a_copy_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.pt").write_bytes(b"mine")
    weights = Weights("net", "http://127.0.0.1:9/w.pt", "TEST_WEIGHTS")
    monkeypatch.setenv("TEST_WEIGHTS", str(tmp_path / "mine.pt"))
    assert weights.fetch() == (tmp_path / "mine.pt", hashlib.sha256(b"mine").hexdigest())
    monkeypatch.setenv("TEST_WEIGHTS", str(tmp_path / "none.pt"))
    with pytest.raises(ValueError, match=r"TEST_WEIGHTS is '.*none.pt', which does not exist"):
        weights.fetch()


@pytest.mark.parametrize(
    ("path", "words"),
    [("/none.pt", "Not Found"), ("/cut.pt", "only 100 of 7,000 bytes arrived")],
)
def test_a_failed_download_leaves_nothing(server: Server, own_cache: Path, path: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        Weights("net", server.url + path, "TEST_WEIGHTS").fetch()
    assert "put its path in TEST_WEIGHTS" in str(refused.value)
    assert list((own_cache / "weights").iterdir()) == []


def test_no_network_is_one_clear_line(own_cache: Path) -> None:
    with pytest.raises(ValueError, match=r"features net need w.pt, .*Connection refused") as refused:
        Weights("net", "http://127.0.0.1:9/w.pt", "TEST_WEIGHTS").fetch()
    assert "\n" not in str(refused.value)
