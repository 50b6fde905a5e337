"""What the command-line tests share: running skep, temporary files, compiling for BPF."""
import functools
import json
import os
import pathlib
import platform
import shutil
import struct
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SKEP = os.environ.get("SKEP") or str(SOURCE / "build/release/tools/skep")


class Run:
    """What a command left behind."""

    def __init__(self, done):
        self.code = done.returncode
        self.bytes = done.stdout
        self.out = done.stdout.decode(errors="replace")
        self.err = done.stderr.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.out)


def skep(*arguments, stdin=b"", env=None):
    done = subprocess.run([SKEP, *map(str, arguments)], input=stdin, capture_output=True, timeout=120,
                          env={**os.environ, "NO_COLOR": "1", **(env or {})}, check=False)
    return Run(done)


def assemble(text):
    """The slots of assembler text."""
    run = skep("asm", "-", "-o", "-", stdin=text.encode())
    if run.code != 0:
        raise AssertionError(run.err)
    return run.bytes


@functools.cache
def find_clang():
    for name in ("clang-19", "clang"):
        if shutil.which(name):
            return name
    return None


@functools.cache
def folder():
    """Where temporary files go; removed at exit."""
    return tempfile.TemporaryDirectory(prefix="skep-test-")


def temporary(name, content=None):
    path = pathlib.Path(folder().name) / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@functools.cache
def compile_bpf(source, *flags):
    """The object of a C source, which is a path below the repository or text."""
    clang = find_clang()
    if clang is None:
        raise unittest.SkipTest("no clang that compiles for BPF is installed")
    if "\n" in source:
        path = temporary(f"source{abs(hash(source))}.c", source)
    else:
        path = SOURCE / source
    out = temporary(f"{path.stem}{abs(hash(flags))}.o")
    done = subprocess.run([clang, "-g", "-O2", "-target", "bpf", f"-I/usr/include/{platform.machine()}-linux-gnu",
                           *flags, "-c", str(path), "-o", str(out)], capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return out


def debian_object(name):
    """An object that Debian's xdp-tools ships."""
    for path in pathlib.Path("/usr/lib").glob(f"*/bpf/{name}"):
        return path
    raise unittest.SkipTest(f"{name} of Debian's xdp-tools is not installed")


def pcap(packets, link_type=1, nanoseconds=True, start=1_700_000_000 * 10**9, step=1000, cut=None):
    """A capture of the given frames."""
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    out = [struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)]
    for number, data in enumerate(packets):
        time = start + number * step
        kept = data if cut is None else data[:cut]
        out.append(struct.pack("<IIII", time // 10**9, time % 10**9 // unit, len(kept), len(data)) + kept)
    return b"".join(out)


def read_pcapng(data):
    """[(data, wire length, time in ns, comment)] of a pcapng file of one section."""
    packets, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        body = data[at + 8:at + length - 4]
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length
        if kind == 6:
            _, high, low, captured, original = struct.unpack_from("<IIIII", body)
            packet = body[20:20 + captured]
            options, comment = 20 + (captured + 3) // 4 * 4, ""
            while options < len(body):
                code, size = struct.unpack_from("<HH", body, options)
                if code == 1:
                    comment = body[options + 4:options + 4 + size].decode()
                if code == 0:
                    break
                options += 4 + (size + 3) // 4 * 4
            packets.append((packet, original, high << 32 | low, comment))
        at += length
    return packets


def main():
    unittest.main(verbosity=2)
