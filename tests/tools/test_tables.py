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


class Maps(unittest.TestCase):
    def test_all_types_of_linux_in_order(self):
        rows = skep("maps", "--format", "json").json
        self.assertEqual([row["number"] for row in rows], list(range(1, 34)))
        by_name = {row["name"]: row for row in rows}
        self.assertTrue(by_name["hash"]["available"])
        self.assertIn("lookup", by_name["hash"]["program"])
        self.assertEqual([line.split("|")[1].strip() for line in
                          skep("maps", "--format", "markdown").out.splitlines()[2:]], list(by_name))
        self.assertEqual(len(skep("maps").out.splitlines()), len(rows) + 1)


class Helpers(unittest.TestCase):
    def test_all_helpers_of_linux_in_order(self):
        rows = skep("helpers", "--format", "json").json
        self.assertEqual(sorted({row["number"] for row in rows}), list(range(1, 212)))
        lookup = rows[0]
        self.assertEqual((lookup["number"], lookup["name"]), (1, "bpf_map_lookup_elem"))
        self.assertIn("xdp", lookup["types"])
        self.assertTrue(lookup["available"])
        self.assertEqual(len(skep("helpers").out.splitlines()), len(rows) + 1)
        self.assertEqual(len(skep("helpers", "--format", "markdown").out.splitlines()), len(rows) + 2)


if __name__ == "__main__":
    cli.main()
