"""The download: the whole file under its name, or nothing at all."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bloodsearch.search.data import download, registry
from bloodsearch.search.data.download import fetch
from bloodsearch.search.errors import DataError, UsageError

FILE_NAME = "bloodmnist.npz"
OFFICIAL_MD5 = "7053d0359d879ad8a5505303e11de1dc"
CONTENT = bytes(range(256)) * 2_000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/nonsense":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        self.send_response(200)
        if self.path == "/chunked-cut":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"1000\r\n" + CONTENT[:100])
            return
        if self.path != "/no-length":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut" else CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def failure(root: Path, url: str, md5: str = MD5) -> str:
    with pytest.raises(DataError) as caught:
        fetch("bloodmnist", root, url=url, md5=md5, timeout_s=10)
    message = str(caught.value)
    assert url in message
    assert str(root) in message
    assert "--dataset synthetic" in message
    assert message.isprintable()
    return message


@pytest.mark.parametrize("path", ["/good", "/no-length"])
def test_a_good_file_appears_whole_under_its_name(server: str, tmp_path: Path, path: str) -> None:
    root = tmp_path / "new" / "folder"
    seen: list[tuple[int, int | None]] = []
    found = fetch(
        "bloodmnist",
        root,
        url=server + path,
        md5=MD5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found == root / FILE_NAME
    assert found.read_bytes() == CONTENT
    assert [file.name for file in root.iterdir()] == [FILE_NAME]
    assert found.stat().st_mode & 0o777 == 0o644
    total = len(CONTENT) if path == "/good" else None
    assert seen[-1] == (len(CONTENT), total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_until_its_md5_is_right_the_file_is_not_under_its_name(server: str, tmp_path: Path) -> None:
    def look(done: int, total: int | None) -> None:
        assert not (tmp_path / FILE_NAME).exists()
        assert len(list(tmp_path.iterdir())) == 1  # the temporary file

    fetch("bloodmnist", tmp_path, url=f"{server}/good", md5=MD5, progress=look)


@pytest.mark.parametrize("before", [None, b"what was there"])
@pytest.mark.parametrize(
    ("path", "md5", "words"),
    [
        ("/good", "0" * 32, f"MD5 {MD5}, not the official"),
        ("/cut", MD5, "not the official"),
        ("/chunked-cut", MD5, "cannot download"),
        ("/missing", MD5, "Not Found"),
        ("/nonsense", MD5, "cannot download"),
    ],
)
def test_a_failure_leaves_the_folder_as_it_was(
    server: str, tmp_path: Path, before: bytes | None, path: str, md5: str, words: str
) -> None:
    if before is not None:
        (tmp_path / FILE_NAME).write_bytes(before)
    assert words in failure(tmp_path, server + path, md5)
    assert {file.name for file in tmp_path.iterdir()} == (set() if before is None else {FILE_NAME})
    if before is not None:
        assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_good_file_replaces_what_was_there(server: str, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"damaged")
    fetch("bloodmnist", tmp_path, url=f"{server}/good", md5=MD5)
    assert (tmp_path / FILE_NAME).read_bytes() == CONTENT


def test_an_unreachable_server(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot download" in failure(tmp_path, f"http://127.0.0.1:{port}/file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["nonsense", "http://[half", "ftp:"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    assert "cannot download" in failure(tmp_path, url)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="choose another --data-root"):
            fetch("bloodmnist", root, url="http://127.0.0.1:1/")


def test_an_interrupt_leaves_nothing(server: str, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("bloodmnist", tmp_path, url=f"{server}/good", md5=MD5, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_each_set_comes_from_its_official_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def stream(url: str, *args: object) -> str:
        asked.append(url)
        return registry.official("pathmnist@64").md5

    monkeypatch.setattr(download, "_stream", stream)
    assert fetch("pathmnist@64", tmp_path) == tmp_path / "pathmnist_64.npz"
    assert asked == ["https://zenodo.org/records/10519652/files/pathmnist_64.npz?download=1"]
    with pytest.raises(UsageError, match="the synthetic set has no file"):
        fetch("synthetic", tmp_path)
