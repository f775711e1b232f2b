"""The disk itself: what a process sees of its own writes, and what of them is there when it was killed."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import shim

SECONDS = 20


@pytest.fixture
def directory(tmp_path):
    folder = tmp_path / "held"
    folder.mkdir()
    return folder


@pytest.fixture
def run(library, directory):
    """Runs Python on the disk, then `before`, which gets the disk and a way to have expressions evaluated there, and kills it. What it printed before."""

    def run(script, before=lambda disk, ask: None):
        disk = shim.Disk(library, directory)
        ends = "\nprint('ready', flush=True)\nfor line in sys.stdin: print(eval(line), flush=True)"
        words = [sys.executable, "-c", f"import os, sys\nD = {str(directory)!r}\n" + textwrap.dedent(script) + ends]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(words, **streams, env={**os.environ, **disk.environment}, pass_fds=disk.descriptors)
        disk.started()

        def ask(expression):
            process.stdin.write(expression + "\n")
            process.stdin.flush()
            return process.stdout.readline().rstrip()

        lines = []
        while (line := process.stdout.readline()) and line != "ready\n":
            lines.append(line.rstrip())
        if line:
            before(disk, ask)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=SECONDS)
        disk.close()
        assert line, "\n".join(lines)
        return lines

    return run


SYNC_NAMES = "d = os.open(D, os.O_RDONLY); os.fsync(d)\n"
CREATE = "f = os.open(D + '/f', os.O_RDWR | os.O_CREAT, 0o600)\n"


def test_written_and_not_synced_is_lost_at_a_kill(run, directory):
    run(CREATE + SYNC_NAMES + "os.pwrite(f, b'abc', 0)")
    assert (directory / "f").read_bytes() == b""


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_what_is_synced_stays_and_what_comes_after_is_lost(run, directory, call):
    run(CREATE + SYNC_NAMES + f"os.pwrite(f, b'abc', 0); os.{call}(f); os.pwrite(f, b'XYZ', 2)")
    assert (directory / "f").read_bytes() == b"abc"


def test_a_clean_end_is_no_sync(run, directory):
    run(CREATE + SYNC_NAMES + "os.write(f, b'abc'); os.close(f); print('ready', flush=True); sys.exit(0)")
    assert (directory / "f").read_bytes() == b""


def test_a_process_reads_what_it_wrote(run, directory):
    (directory / "f").write_bytes(b"0123456789")
    said = run("""
        f = os.open(D + '/f', os.O_RDWR)
        os.pwrite(f, b'ab', 3); os.pwrite(f, b'Z', 4); os.pwritev(f, [b'x', b'y'], 12)
        print(os.pread(f, 100, 0), os.pread(f, 2, 4), os.fstat(f).st_size, os.stat(D + '/f').st_size, os.lseek(f, 0, os.SEEK_END))
        os.ftruncate(f, 5); os.pwrite(f, b'q', 7)
        print(os.pread(f, 100, 0))
        os.posix_fallocate(f, 0, 10); os.lseek(f, 6, os.SEEK_SET)
        print(os.read(f, 2), os.write(f, b'!'), os.read(f, 9))
        os.close(f)
        g = os.open(D + '/f', os.O_RDWR | os.O_APPEND)
        print(os.read(g, 20), os.write(g, b'end'), os.pread(g, 20, 9))
        os.close(os.open(D + '/f', os.O_RDWR | os.O_TRUNC))
        print(os.fstat(g).st_size)
    """)
    assert said == [
        r"b'012aZ56789\x00\x00xy' b'Z5' 14 14 14", r"b'012aZ\x00\x00q'", r"b'\x00q' 1 b'\x00'", r"b'012aZ\x00\x00q!\x00' 3 b'\x00end'", "0",
    ]  # fmt: skip
    assert (directory / "f").read_bytes() == b"0123456789", "nothing of it was synced"


def test_held_changes_of_size_are_made_at_the_sync_in_their_order(run, directory):
    run(CREATE + SYNC_NAMES + "os.pwrite(f, b'abcdef', 0); os.ftruncate(f, 2); os.ftruncate(f, 4); os.pwrite(f, b'z', 5); os.posix_fallocate(f, 0, 8); os.fsync(f)")
    assert (directory / "f").read_bytes() == b"ab\0\0\0z\0\0"


def test_a_file_whose_folder_is_not_synced_is_not_there(run, directory):
    said = run(CREATE + "os.pwrite(f, b'abc', 0); os.fsync(f); print(os.listdir(D))")
    assert said == ["['f']"] and os.listdir(directory) == []


def test_a_name_without_its_bytes(run, directory):
    run(CREATE + "os.pwrite(f, b'abc', 0)\n" + SYNC_NAMES)
    assert (directory / "f").read_bytes() == b""


def test_a_rename_and_an_unlink_come_with_the_sync_of_the_folder(run, directory):
    for name in ("old", "gone"):
        (directory / name).write_text(name)
    change = "os.rename(D + '/old', D + '/new'); os.unlink(D + '/gone'); print(sorted(os.listdir(D)), os.path.exists(D + '/gone'))\n"
    assert run(change) == ["['new'] False"]
    assert sorted(os.listdir(directory)) == ["gone", "old"]
    run(change + SYNC_NAMES)
    assert os.listdir(directory) == ["new"] and (directory / "new").read_text() == "old"


def test_bytes_synced_under_a_name_that_was_not_are_in_the_file_of_the_old_name(run, directory):
    (directory / "spare").write_bytes(b"....")
    run("os.rename(D + '/spare', D + '/segment'); f = os.open(D + '/segment', os.O_RDWR); os.pwrite(f, b'ab', 0); os.fsync(f)")
    assert os.listdir(directory) == ["spare"] and (directory / "spare").read_bytes() == b"ab.."


def test_a_replaced_file_is_the_old_one_until_the_folder_is_synced(run, directory):
    (directory / "f").write_text("old")
    replace = "g = os.open(D + '/g', os.O_RDWR | os.O_CREAT); os.write(g, b'new'); os.fsync(g); os.rename(D + '/g', D + '/f')\n"
    run(replace)
    assert (directory / "f").read_text() == "old"
    run(replace + SYNC_NAMES)
    assert (directory / "f").read_text() == "new" and os.listdir(directory) == ["f"]


def test_folders_below(run, directory):
    make = "os.mkdir(D + '/a'); f = os.open(D + '/a/f', os.O_RDWR | os.O_CREAT); os.write(f, b'abc'); os.fsync(f)\n"
    run(make + SYNC_NAMES)
    assert os.listdir(directory / "a") == []
    os.rmdir(directory / "a")
    run(make + "a = os.open(D + '/a', os.O_RDONLY); os.fsync(a)\n" + SYNC_NAMES)
    assert (directory / "a/f").read_bytes() == b"abc"


def test_synchronous_files_hold_nothing_back(run, directory):
    (directory / "f").write_bytes(b"...")
    run("f = os.open(D + '/f', os.O_RDWR | os.O_DSYNC); os.pwrite(f, b'abc', 0)")
    assert (directory / "f").read_bytes() == b"abc"


def test_a_writable_mapping_ends_the_process(run, directory):
    (directory / "f").write_bytes(b"...")
    with pytest.raises(AssertionError, match="a mapping of a file whose bytes are held back"):
        run("import mmap; f = os.open(D + '/f', os.O_RDWR); mmap.mmap(f, 3)")


def test_files_elsewhere_are_left_alone(run, tmp_path):
    run(f"f = os.open({str(tmp_path / 'else')!r}, os.O_RDWR | os.O_CREAT); os.write(f, b'abc')")
    assert (tmp_path / "else").read_bytes() == b"abc"


def test_a_full_disk_takes_what_makes_no_file_longer(run, directory):
    (directory / "f").write_bytes(b"...")

    def before(disk, ask):
        disk.fill()
        assert [ask("write(0)"), ask("write(1)"), ask("allocate()")] == ["3", str(errno.ENOSPC), str(errno.ENOSPC)]
        disk.empty()
        assert [ask("write(1)"), ask("allocate()"), ask("os.fsync(f)")] == ["3", "None", "None"]

    run(
        """
        f = os.open(D + '/f', os.O_RDWR)
        def attempt(call, *words):
            try: return call(*words)
            except OSError as error: return error.errno
        def write(at): return attempt(os.pwrite, f, b'abc', at)
        def allocate(): return attempt(os.posix_fallocate, f, 0, 6)
        """,
        before,
    )
    assert (directory / "f").read_bytes() == b"aabc\0\0"


def test_a_power_failure_leaves_an_arbitrary_part_and_the_same_for_a_seed(run, directory):
    write = CREATE + SYNC_NAMES + "os.pwrite(f, b'-' * 4096, 0); os.fsync(f)\nfor i in range(4): os.pwrite(f, bytes([97 + i]) * 1024, i * 1024)\nos.rename(D + '/f', D + '/g')"
    seen = {}
    for seed in [*range(12), 0]:
        for name in os.listdir(directory):
            (directory / name).unlink()
        run(write, before=lambda disk, ask: disk.tear(seed))
        (name,) = os.listdir(directory)
        got = (name, (directory / name).read_bytes())
        assert all(len(set(got[1][at : at + 512])) == 1 for at in range(0, 4096, 512)), "a sector is whole"
        assert got == seen.setdefault(seed, got)
    assert len(set(seen.values())) > 3 and {name for name, _ in seen.values()} == {"f", "g"}
