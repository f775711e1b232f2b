"""Directories that cannot be used end the start with one sentence that says so; the number of loops may change."""

import os
import subprocess

import pytest

import brokers
from peer import Peer

pytestmark = pytest.mark.skipif("MARTLET_CRASH_SERVER" in os.environ, reason="about martlet alone")


def crc32c(raw):
    remainder = 0xFFFFFFFF
    for byte in raw:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def refused(directory, *words, user=None, code=1):
    """What it says; it must end by itself, with `code`, and with one line about that directory."""
    command = [brokers.binary(), "serve", "--listen", "mqtt://127.0.0.1:0", "--data", str(directory), *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, env=brokers.environment(), user=user)
    said = ended.stderr.strip().splitlines()
    assert ended.returncode == code, ended
    assert len(said) == 1 and str(directory) in said[0], ended.stderr
    return said[0]


def test_a_directory_in_use_is_refused_and_its_server_goes_on(own, tmp_path):
    server = own()
    server.start()
    said = refused(server.data)
    assert "in use" in said and str(server.process.pid) in said or "another process" in said
    with Peer(Place(server), "a") as peer:
        peer.subscribe("t", qos=1)
        peer.publish("t", b"still here", 1)
        assert peer.message().payload == b"still here"
    server.kill()
    server.start()


class Place:
    def __init__(self, server):
        self.host, self.port, self.name = server.host, server.ports["mqtt"], server.name


def test_a_directory_that_is_not_there_is_made(own):
    server = own()
    server.data.rmdir()
    server.start()
    assert (server.data / "journal").exists()
    assert server.data.stat().st_mode & 0o077 == 0, "messages are nobody else's"


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "directory" in refused(tmp_path / "file")


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter").write_text("dear")
    refused(foreign)
    assert os.listdir(foreign) == ["letter"]


def test_a_directory_that_may_not_be_written(own, tmp_path):
    server = own()
    server.start()
    assert server.terminate() == 0
    for path in [server.data, *server.data.iterdir()]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    if os.getuid() != 0:
        assert "ermission" in refused(server.data, code=77)
        return
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.getuid() and folder != folder.parent and not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    try:
        subprocess.run([brokers.binary(), "--version"], user="nobody", check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nobody cannot run the server here")
    assert "ermission" in refused(server.data, code=77, user="nobody")


def superblock(version, magic=b"MARTLETJ"):
    raw = magic + version.to_bytes(4, "big") + (1).to_bytes(8, "big")
    return raw + crc32c(raw).to_bytes(4, "big")


@pytest.mark.parametrize("block, word", [(superblock(77), "newer"), (superblock(1, b"NOTLETJ!"), ""), (superblock(1)[:-1] + b"\0", ""), (b"", "")], ids=["newer", "foreign", "damaged", "empty"])
def test_a_directory_whose_first_block_is_not_understood(own, block, word):
    server = own()
    server.start()
    assert server.terminate() == 0
    (server.data / "journal").write_bytes(block)
    before = sorted((path.name, path.stat().st_size) for path in server.data.iterdir() if path.name != "lock")
    assert word in refused(server.data)
    assert sorted((path.name, path.stat().st_size) for path in server.data.iterdir() if path.name != "lock") == before, "nothing is touched"


def test_without_a_directory_everything_is_in_memory_and_that_is_said(own, tmp_path):
    running = brokers.Martlet("--data", "none", env={"HOME": str(tmp_path)})
    assert any("memory" in line for line in running.lines), running.lines
    assert running.stop()[0] == 0
