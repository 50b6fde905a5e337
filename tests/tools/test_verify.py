"""verify: verdicts, their JSON, and what is bad usage."""
import gzip
import os
import platform
import struct
import unittest

import cli
from cli import assemble, compile_bpf, debian_object, skep, temporary

FIELDS = ["section", "name", "type", "autoload", "verdict", "insns", "processed", "states", "time_us",
          "beyond_linux", "relaxations", "error"]
TWO = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int good(struct xdp_md *ctx) { return XDP_PASS; }
SEC("xdp") int bad(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data;
    return *(unsigned char *)(data + 13);
}
SEC("?xdp") int later(struct xdp_md *ctx) { return XDP_DROP; }
char LICENSE[] SEC("license") = "GPL";
"""


class Verify(unittest.TestCase):
    def test_an_accepted_object(self):
        run = skep("verify", compile_bpf("tools/examples/dns_guard.c"), "--json")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(list(run.json), ["object", "btf", "programs"])
        program = run.json["programs"][0]
        self.assertEqual(list(program), FIELDS)
        self.assertEqual((program["name"], program["verdict"], program["error"]), ("dns_guard", "accepted", None))
        self.assertGreater(program["processed"], 10)

    def test_debians_filter_is_accepted(self):
        self.assertEqual(skep("verify", debian_object("xdpfilt_alw_all.o")).code, 0)

    def test_one_refused_program_does_not_hide_the_others(self):
        run = skep("verify", compile_bpf(TWO), "--json")
        self.assertEqual(run.code, 1)
        self.assertEqual([(p["name"], p["verdict"]) for p in run.json["programs"]],
                         [("good", "accepted"), ("bad", "rejected")])
        error = run.json["programs"][1]["error"]
        self.assertEqual(list(error), ["code", "insn", "file", "line", "message"])
        self.assertIsInstance(error["insn"], int)
        self.assertIsInstance(error["line"], int)

    def test_all_takes_programs_that_are_not_autoloaded(self):
        run = skep("verify", compile_bpf(TWO), "--all", "--jobs", "2", "--json")
        self.assertEqual([p["name"] for p in run.json["programs"]], ["good", "bad", "later"])
        self.assertEqual([p["autoload"] for p in run.json["programs"]], [True, True, False])

    def test_one_program(self):
        self.assertEqual(skep("verify", compile_bpf(TWO), "--program", "good").code, 0)
        self.assertEqual(skep("verify", compile_bpf(TWO), "--program", "bad").code, 1)

    def test_text_names_the_source_line(self):
        run = skep("verify", compile_bpf(TWO), "--program", "bad")
        self.assertIn("rejected", run.out)
        self.assertIn("data + 13", run.out)

    def test_raw(self):
        good, bad = assemble("r0 = 0\nexit\n"), assemble("r0 = r3\nexit\n")
        self.assertEqual(skep("verify", "--raw", "-", "--type", "xdp", stdin=good).code, 0)
        run = skep("verify", "--raw", "-", "--type", "xdp", "--json", stdin=bad)
        self.assertEqual(run.code, 1)
        self.assertEqual(run.json["programs"][0]["error"]["insn"], 0)

    def test_raw_bytes_that_linux_would_refuse_are_rejected(self):
        callx = struct.pack("<BBhi", 0x8D, 1, 0, 0) + assemble("exit\n")
        for what, slots in [("nothing", b""), ("half a slot", assemble("exit\n")[:4]), ("callx", callx)]:
            with self.subTest(what):
                run = skep("verify", "--raw", "-", "--type", "xdp", "--json", stdin=slots)
                self.assertEqual(run.code, 1)
                self.assertEqual(list(run.json["programs"][0]), FIELDS)
                self.assertEqual(run.json["programs"][0]["verdict"], "rejected")

    def test_raw_programs_name_what_they_attach_to(self):
        slots = assemble("r0 = 0\nexit\n")
        for name in ["tp_btf/sched_switch", "sk_lookup", "cgroup_sock_addr", "BPF_PROG_TYPE_SYSCALL"]:
            with self.subTest(name):
                self.assertEqual(skep("verify", "--raw", "-", "--type", name, stdin=slots).code, 0)
        self.assertEqual(skep("verify", "--raw", "-", "--type", "tracing", stdin=slots).code, 1)

    def test_hidden_functions_are_verified_where_they_are_called(self):
        source = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
__attribute__((visibility("hidden"), noinline, weak)) int fill(long *out) { *out = 7; return 0; }
SEC("xdp") int use(struct xdp_md *ctx) { long value = 0; fill(&value); return value; }
"""
        self.assertEqual(skep("verify", compile_bpf(source)).code, 0)

    def test_configurations_are_text_or_gzip_or_the_kernels(self):
        source = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern unsigned long CONFIG_HZ __kconfig;
SEC("xdp") int hz(struct xdp_md *ctx) { return CONFIG_HZ == 123 ? XDP_PASS : XDP_DROP; }
char LICENSE[] SEC("license") = "GPL";
"""
        text = b"CONFIG_HZ=123\n"
        packed = gzip.compress(text)
        for content, code in [(text, 0), (packed, 0), (b"CONFIG_NO=y\n", 1), (packed[:-9], 2), (b"\x1f\x8b", 2)]:
            file = temporary("kconfig", content)
            run = skep("verify", compile_bpf(source), "--kconfig", file)
            self.assertEqual(run.code, code, run.out + run.err)
        run = skep("run", compile_bpf(source), "--kconfig", temporary("kconfig", packed), "--data-hex", "00" * 14, "--json")
        self.assertEqual(run.json["retval"], 2, run.err)
        if not any(map(os.path.exists, ["/proc/config.gz", f"/boot/config-{platform.release()}"])):
            self.skipTest("the running kernel does not show its configuration")
        self.assertEqual(skep("verify", compile_bpf(source)).code, 0)

    def test_raw_size_declares_memory(self):
        slots = assemble("r0 = *(u8 *)(r1 + 3)\nexit\n")
        self.assertEqual(skep("verify", "--raw", "-", "--type", "raw", stdin=slots).code, 1)
        self.assertEqual(skep("verify", "--raw", "-", "--type", "raw", "--raw-size", "4", stdin=slots).code, 0)

    def test_bad_usage_and_bad_files(self):
        run = skep("verify", "/nowhere/x.o", "--json")
        self.assertEqual(run.code, 2)
        self.assertEqual(list(run.json), ["error"])
        self.assertEqual(run.json["error"]["code"], "unreadable")
        self.assertEqual(skep("verify", temporary("junk.o", "junk")).code, 2)
        self.assertEqual(skep("verify", compile_bpf(TWO), "--policy", "lax").code, 2)
        self.assertEqual(skep("verify").code, 2)


if __name__ == "__main__":
    cli.main()
