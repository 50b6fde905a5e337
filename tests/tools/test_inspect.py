"""inspect: what an object has, in text and JSON, and how bad files are refused."""
import random
import time
import unittest

import cli
from cli import compile_bpf, debian_object, skep, temporary


class Inspect(unittest.TestCase):
    def test_json_lists_everything(self):
        run = skep("inspect", compile_bpf("tools/examples/dns_guard.c"), "--json")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(list(run.json), ["object", "license", "gpl_compatible", "programs", "functions", "maps",
                                          "globals", "externs", "relocations", "btf"])
        self.assertEqual([(p["name"], p["section"], p["type"]) for p in run.json["programs"]],
                         [("dns_guard", "xdp", "xdp")])
        maps = {m["name"]: m for m in run.json["maps"]}
        self.assertEqual(maps["packets"]["value_type"], "struct counter")
        self.assertEqual((maps["packets"]["type"], maps["packets"]["max_entries"]), ("hash", 256))
        self.assertEqual([g["name"] for g in run.json["globals"]], ["blocked_port"])
        self.assertGreater(len(run.json["relocations"]), 0)
        self.assertGreater(run.json["btf"]["types"], 10)

    def test_text_names_the_same_things(self):
        run = skep("inspect", compile_bpf("tools/examples/dns_guard.c"))
        for word in ("dns_guard", "xdp", "packets", "hash", "blocked_port", "licence MIT"):
            self.assertIn(word, run.out)

    def test_debians_objects_list_their_programs(self):
        for name in ("xdpfilt_alw_all.o", "xdp-dispatcher.o", "xdpdump_bpf.o", "xsk_def_xdp_prog.o"):
            with self.subTest(name):
                run = skep("inspect", debian_object(name), "--json")
                self.assertEqual(run.code, 0, run.err)
                self.assertGreater(len(run.json["programs"]), 0)


class BadFiles(unittest.TestCase):
    def check(self, content):
        path = temporary("bad.o", content)
        start = time.monotonic()
        run = skep("inspect", path)
        elapsed = time.monotonic() - start
        self.assertIn(run.code, (0, 2), run.err)
        if run.code == 2:
            self.assertIn("bad.o", run.err)
            self.assertEqual(run.out, "")
        self.assertLess(elapsed, 5)
        return run

    def test_no_elf_file(self):
        for content in (b"", b"\x7f", b"\x7fELF", b"hello", b"\x7fELF" + bytes(60)):
            self.assertEqual(self.check(content).code, 2)

    def test_another_machine(self):
        run = skep("inspect", cli.SKEP)
        self.assertEqual(run.code, 2)

    def test_big_endian(self):
        run = skep("inspect", compile_bpf("tools/examples/dns_guard.c", "-target", "bpfeb"))
        self.assertEqual(run.code, 2)
        self.assertIn("big-endian", run.err)

    def test_truncated_and_mutated(self):
        good = compile_bpf("tools/examples/dns_guard.c").read_bytes()
        seed = random.randrange(2**32)
        generator = random.Random(seed)
        with self.subTest(seed=seed):
            for _ in range(10):
                self.check(good[:generator.randrange(len(good))])
                mutated = bytearray(good)
                for _ in range(4):
                    mutated[generator.randrange(len(mutated))] = generator.randrange(256)
                self.check(bytes(mutated))


if __name__ == "__main__":
    cli.main()
