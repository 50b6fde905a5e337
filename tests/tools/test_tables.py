"""types, maps, helpers: the three formats agree and hold what the tables hold."""
import unittest

import cli
from cli import skep


class Types(unittest.TestCase):
    def test_json_has_every_type_once(self):
        rows = skep("types", "--format", "json").json
        by_name = {row["name"]: row for row in rows}
        self.assertEqual(len(rows), len(by_name))
        self.assertEqual(by_name["xdp"]["number"], 6)
        self.assertEqual(by_name["xdp"]["verdicts"],
                         {"0": "aborted", "1": "drop", "2": "pass", "3": "tx", "4": "redirect"})
        self.assertEqual(by_name["xdp"]["fields"][0]["name"], "data")
        self.assertIn("xdp", by_name["xdp"]["sections"])
        self.assertIsNone(by_name["raw"]["number"])
        self.assertIn("cgroup/connect4", by_name["cgroup_sock_addr"]["sections"])

    def test_text_and_markdown_list_the_same_types(self):
        names = [row["name"] for row in skep("types", "--format", "json").json]
        text = [line.split()[0] for line in skep("types").out.splitlines()[1:]]
        markdown = [line.split("|")[1].strip() for line in
                    skep("types", "--format", "markdown").out.splitlines()[2:]]
        self.assertEqual(names, text)
        self.assertEqual(names, markdown)

    def test_an_unknown_format_is_bad_usage(self):
        run = skep("types", "--format", "yaml")
        self.assertEqual(run.code, 2)
        self.assertIn("--format", run.err)


if __name__ == "__main__":
    cli.main()
