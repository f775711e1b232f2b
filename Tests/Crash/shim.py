"""Builds lost_writes.c and speaks with it: a disk that loses what was not synced, for one process."""

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("lost_writes.c")


def build(folder):
    """The library, made in `folder`."""
    library = Path(folder) / "lost_writes.so"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "no C compiler"
    subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library


class Disk:
    """The disk under one process: `environment` and `descriptors` are given to it when it starts."""

    def __init__(self, library, directory, delay=0):
        self.directory = Path(directory).resolve()
        self.control, self.theirs = socket.socketpair()
        self.control.settimeout(30)
        self.environment = {
            "LD_PRELOAD": str(library), "LOST_WRITES": str(self.directory), "LOST_WRITES_CONTROL": str(self.theirs.fileno()),
            "LOST_WRITES_DELAY": str(delay),
        }  # fmt: skip
        self.descriptors = (self.theirs.fileno(),)

    def started(self):
        self.theirs.close()

    def _command(self, raw):
        self.control.sendall(raw)
        answer = self.control.recv(1)
        assert answer == raw[:1], f"the disk answers {answer!r}"

    def tear(self, seed):
        """The power fails: an arbitrary part of what was not synced is there, and nothing more gets there. Kill the process next."""
        self._command(b"t" + struct.pack("=Q", seed % (1 << 64)))

    def fill(self):
        self._command(b"f")

    def empty(self):
        self._command(b"g")

    def close(self):
        """Ends the illusion, when the process has ended."""
        self.control.close()
        shutil.rmtree(f"{self.directory}.volatile", ignore_errors=True)
