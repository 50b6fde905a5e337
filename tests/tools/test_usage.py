"""Help, version and bad usage."""
import re
import unittest

import cli
from cli import skep


def commands():
    out = skep("--help").out
    return re.findall(r"^  ([a-z]+)  ", out[out.index("Subcommands:"):], re.MULTILINE)


class Usage(unittest.TestCase):
    def test_version(self):
        run = skep("--version")
        self.assertEqual(run.code, 0)
        self.assertRegex(run.out, r"^skep \d+\.\d+\.\d+\n$")

    def test_every_command_has_help_with_examples(self):
        self.assertGreaterEqual(len(commands()), 3)
        for command in commands():
            with self.subTest(command):
                run = skep(command, "--help")
                self.assertEqual(run.code, 0)
                self.assertIn("Examples:", run.out)
                self.assertIn(f"skep {command}", run.out)
                self.assertEqual(run.err, "")

    def test_no_command_is_bad_usage(self):
        self.assertEqual(skep().code, 2)

    def test_an_unknown_command_or_option_is_named(self):
        for arguments in (["frobnicate"], ["types", "--frobnicate"]):
            run = skep(*arguments)
            self.assertEqual(run.code, 2)
            self.assertIn("frobnicate", run.err)
            self.assertEqual(run.out, "")


if __name__ == "__main__":
    cli.main()
