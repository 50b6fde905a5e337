"""The README's commands do what it shows, its example is the one that is built, its links exist.

Blocks marked `console` are run from top to bottom in one folder: lines that start with `$ ` are
commands (a trailing backslash continues them), the others their output. Times and rates may differ,
and a line of three dots stands for any lines.
"""
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import cli
from cli import SOURCE

README = (SOURCE / "README.md").read_text()


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def steps(block):
    """[(command, expected output)]"""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif found and found[-1][0].endswith("\\") and not found[-1][1]:
            found[-1][0] = found[-1][0][:-1] + line.strip()
        elif found:
            found[-1][1].append(line)
    return found


def comparable(line):
    """A line without what differs from run to run."""
    line = re.sub(r"\d[\d,.]* (ns|us|ms|s)\b", "TIME", line)
    line = re.sub(r"\d[\d,.]* ([kMG] )?(packets/s)", r"RATE \2", line)
    line = re.sub(r"/usr/lib/[^/]+/", "/usr/lib/ARCH/", line)
    line = re.sub(r"/\S*/tools/examples/", "tools/examples/", line)
    line = re.sub(r"\b(interp|jit)\b", "ENGINE", line)
    line = re.sub(r"\b(sandbox|verified)\b", "MODE", line)
    line = re.sub(r"\d[\d,]* processed", "N processed", line)
    return re.sub(r"\s+", " ", line).strip()


def pattern(lines):
    parts = [".*" if line.strip() == "..." else re.escape(comparable(line)) + "\n" for line in lines]
    return re.compile("".join(parts) + r"\Z", re.DOTALL)


class Readme(unittest.TestCase):
    def setUp(self):
        self.folder = cli.temporary("readme")
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "tools").symlink_to(SOURCE / "tools")
        (self.folder / "bin/skep").symlink_to(cli.SKEP)
        clang = cli.find_clang()
        if clang is None:
            self.skipTest("no clang that compiles for BPF is installed")
        (self.folder / "bin/clang").symlink_to(shutil.which(clang))

    def test_commands_print_what_the_readme_says(self):
        env = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}
        count = 0
        for block in blocks("console"):
            for command, expected in steps(block):
                if "xdp-tools" in command or "/bpf/xdpfilt" in command:
                    cli.debian_object("xdpfilt_alw_all.o")
                with self.subTest(command):
                    done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=env, text=True,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                    self.assertIn(done.returncode, (0, 1), done.stdout)
                    printed = "".join(comparable(line) + "\n" for line in done.stdout.splitlines())
                    self.assertRegex(printed, pattern(expected))
                    count += 1
        self.assertGreater(count, 5)

    def test_the_embedding_example_is_the_one_that_is_built(self):
        example = (SOURCE / "tools/examples/embed.cpp").read_text()
        self.assertEqual(len(blocks("cpp")), 1)
        strip = lambda text: [line.strip() for line in text.splitlines() if line.strip()]
        self.assertIn("\n".join(strip(blocks("cpp")[0])), "\n".join(strip(example)))

    def test_links_lead_somewhere(self):
        for document in [SOURCE / "README.md", SOURCE / "SECURITY.md", *SOURCE.glob("*/README.md"),
                         *SOURCE.glob("vm/*/README.md")]:
            for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
                if "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document}: {target}")

    def test_every_module_has_a_readme(self):
        for line in (SOURCE / "vm/layers.txt").read_text().splitlines():
            module = line.strip()
            if module and not module.startswith("#") and any((SOURCE / module).glob("*.cpp")):
                self.assertTrue((SOURCE / module / "README.md").is_file(), module)


if __name__ == "__main__":
    cli.main()
