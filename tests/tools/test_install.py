"""An installed Skep is found by find_package and by pkg-config, and its example runs."""
import os
import pathlib
import shutil
import subprocess
import unittest

import cli
from cli import SOURCE

BUILD = pathlib.Path(os.environ.get("SKEP_BUILD", SOURCE / "build/release"))
CXX = os.environ.get("SKEP_CXX", "c++")
FLAGS = os.environ.get("SKEP_CXX_FLAGS", "")
EXAMPLE = SOURCE / "tools/examples/embed.cpp"


def call(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = cli.temporary("prefix")
        call("cmake", "--install", BUILD, "--prefix", cls.prefix)

    def run_example(self, binary):
        program = cli.compile_bpf("tools/examples/dns_guard.c")
        self.assertEqual(call(binary, program, "dns_guard"), "verdict 2\n")

    def test_find_package(self):
        build = cli.temporary("consumer")
        call("cmake", "-S", SOURCE / "tests/install", "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
             f"-DEMBED_SOURCE={EXAMPLE}", f"-DCMAKE_CXX_COMPILER={CXX}", f"-DCMAKE_CXX_FLAGS={FLAGS}")
        call("cmake", "--build", build)
        self.run_example(build / "embed")

    def test_pkg_config(self):
        if shutil.which("pkg-config") is None:
            self.skipTest("pkg-config is not installed")
        folder = next(self.prefix.glob("**/pkgconfig"))
        env = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
        flags = call("pkg-config", "--cflags", "--libs", "skep", env=env).split()
        binary = cli.temporary("embed-pkg-config")
        call(CXX, "-std=c++23", *FLAGS.split(), EXAMPLE, "-o", binary, *flags)
        self.run_example(binary)

    def test_installed_headers_stand_alone(self):
        installed = {path.name for path in (self.prefix / "include/skep").iterdir()}
        shipped = {path.name for path in (SOURCE / "vm/include/skep").iterdir()}
        self.assertEqual(installed, shipped)


if __name__ == "__main__":
    cli.main()
