#!/usr/bin/env python3
"""Collects real eBPF objects into a folder, for tests that open every one of them.

    tests/corpus.py OUT          what is quick: xdp-tools' objects, the images embedded in binaries
                                 of libbpf-tools and libknot13, tests/elf/src by every compiler here
    tests/corpus.py OUT --long   besides, samples/bpf and the selftests' programs of Debian's
                                 linux-source package (verifier_*.c left out), by clang at v1..v4

What is there already is kept. Whatever is missing on the machine is named and left out. Prints one
line per source with the number of objects that it gave.
"""

import argparse
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
CPUS = ["v1", "v2", "v3", "v4"]
CLANGS = ["clang-14", "clang-19", "clang"]


def say(text):
    print(text, flush=True)


def clangs():
    found = [c for c in CLANGS[:2] if shutil.which(c)]
    return found or [c for c in CLANGS[2:] if shutil.which(c)]


def cpus_of(clang):
    """clang-14 knows v1..v3; asked for more, it would silently build something else."""
    return CPUS[:3] if clang == "clang-14" else CPUS


def installed(out):
    files = glob.glob("/usr/lib/*/bpf/*.o") + glob.glob("/usr/lib/bpf/*.o")
    for path in files:
        target = os.path.join(out, "xdp-tools", os.path.basename(path))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target):
            shutil.copy(path, target)
    say(f"xdp-tools: {len(files)} objects")


def images(data):
    """ELF images for BPF inside other files: skeletons embed them as strings."""
    at = data.find(b"\x7fELF\x02\x01\x01")
    while at >= 0:
        head = data[at:at + 64]
        if len(head) == 64 and head[16:20] == b"\x01\x00\xf7\x00":
            table = int.from_bytes(head[40:48], "little")
            count = int.from_bytes(head[60:62], "little")
            end = table + count * 64
            for i in range(count):
                s = data[at + table + i * 64:at + table + i * 64 + 64]
                if len(s) == 64 and int.from_bytes(s[4:8], "little") != 8:
                    end = max(end, int.from_bytes(s[24:32], "little") +
                              int.from_bytes(s[32:40], "little"))
            if at + end <= len(data):
                yield data[at:at + end]
        at = data.find(b"\x7fELF\x02\x01\x01", at + 1)


def carved(out):
    for package in ["libbpf-tools", "libknot13"]:
        listing = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True)
        seen = set()
        for path in listing.stdout.splitlines():
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            if not data.startswith(b"\x7fELF"):
                continue
            for image in images(data):
                if image in seen:
                    continue
                seen.add(image)
                name = f"{os.path.basename(path)}.{len(seen)}.o"
                target = os.path.join(out, package, name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target, "wb") as f:
                    f.write(image)
        say(f"{package}: {len(seen)} objects" + ("" if seen else " (not installed?)"))


def compile_all(jobs):
    """jobs: (target, command). Returns how many targets exist afterwards."""
    def run(job):
        target, command = job
        if os.path.exists(target):
            return True
        os.makedirs(os.path.dirname(target), exist_ok=True)
        done = subprocess.run(command, capture_output=True)
        return done.returncode == 0 and os.path.exists(target)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return sum(pool.map(run, jobs))


def own(out):
    sources = sorted(glob.glob(os.path.join(HERE, "elf", "src", "*.c")))
    for clang in clangs():
        jobs = []
        for source in sources:
            for cpu in cpus_of(clang):
                stem = os.path.splitext(os.path.basename(source))[0]
                target = os.path.join(out, "own", f"{stem}.{clang}.{cpu}.o")
                jobs.append((target, [clang, "-g", "-O2", "-target", "bpf", f"-mcpu={cpu}", "-c",
                                      source, "-o", target]))
        say(f"own, {clang}: {compile_all(jobs)} of {len(jobs)} objects")
    if not shutil.which("bpf-gcc"):
        say("own, bpf-gcc: not installed")
        return
    jobs = []
    for source in sources:
        stem = os.path.splitext(os.path.basename(source))[0]
        target = os.path.join(out, "own", f"{stem}.gcc.o")
        jobs.append((target, ["bpf-gcc", "-gbtf", "-O2", "-mco-re", "-c", source, "-o", target]))
    say(f"own, bpf-gcc: {compile_all(jobs)} of {len(jobs)} objects")


def extract_kernel(out):
    """samples/bpf and the selftests' progs of linux-source, or None."""
    root = os.path.join(out, "src")
    done = glob.glob(os.path.join(root, "linux-source-*"))
    if done:
        return done[0]
    tars = sorted(glob.glob("/usr/src/linux-source-*.tar.xz"))
    if not tars:
        say("linux-source: not installed")
        return None

    def wanted(name):
        if "/tools/include/uapi/asm" in name:  # refers to headers of the kernel's own build
            return False
        if "/selftests/bpf/verifier/" in name or os.path.basename(name).startswith("verifier_"):
            return False
        return ("/samples/bpf/" in name or "/selftests/bpf/progs/" in name or
                "/tools/include/" in name or
                ("/selftests/bpf/" in name and name.count("/") == 5 and name.endswith(".h")))
    with tarfile.open(tars[-1], "r|xz") as tar:
        for member in tar:
            if member.isfile() and wanted("/" + member.name.split("/", 1)[-1]):
                tar.extract(member, root)
    return glob.glob(os.path.join(root, "linux-source-*"))[0]


def kernel(out, limit):
    root = extract_kernel(out)
    if root is None:
        return
    header = os.path.join(out, "src", "vmlinux.h")
    if not os.path.exists(header):
        with open(header, "w") as f:
            subprocess.run(["bpftool", "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format",
                            "c"], stdout=f, check=False)
    selftests = os.path.join(root, "tools/testing/selftests/bpf")
    flags = ["-g", "-O2", "-target", "bpf", "-D__TARGET_ARCH_x86", "-D__x86_64__", "-mlittle-endian",
             "-w", f"-I{os.path.dirname(header)}", f"-I{selftests}", f"-I{selftests}/progs",
             f"-I{root}/tools/include/uapi", f"-I{root}/samples/bpf",
             "-idirafter", "/usr/include/x86_64-linux-gnu", "-idirafter", "/usr/include"]
    sources = sorted(glob.glob(selftests + "/progs/*.c") + glob.glob(root + "/samples/bpf/*_kern.c") +
                     glob.glob(root + "/samples/bpf/*.bpf.c"))
    if limit:
        sources = sources[::max(1, len(sources) // limit)]
    for clang in clangs():
        for cpu in cpus_of(clang):
            jobs = []
            for source in sources:
                stem = os.path.splitext(os.path.basename(source))[0]
                target = os.path.join(out, "kernel", f"{clang}.{cpu}", stem + ".o")
                jobs.append((target, [clang, *flags, f"-mcpu={cpu}", "-c", source, "-o", target]))
            say(f"linux-source, {clang} {cpu}: {compile_all(jobs)} of {len(jobs)} objects "
                "(the others do not compile against these headers)")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--limit", type=int, default=0, help="at most about this many kernel sources")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    installed(args.out)
    carved(args.out)
    own(args.out)
    if args.long:
        kernel(args.out, args.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
