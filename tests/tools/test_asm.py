"""asm and disasm: text to slots and back, and what they refuse."""
import struct
import unittest

import cli
from cli import skep, temporary


class Asm(unittest.TestCase):
    def test_both_dialects_give_the_same_slots(self):
        kernel = cli.assemble("r0 = 7\nr0 += r1\nif r0 > 5 goto out\nr0 = -1\nout:\nexit\n")
        classic = cli.assemble("mov64 r0, 7\nadd64 r0, r1\njgt r0, 5, out\nmov64 r0, -1\nout:\nexit\n")
        self.assertEqual(kernel, classic)
        self.assertEqual(len(kernel), 5 * 8)
        self.assertEqual(kernel[:8], struct.pack("<BBhi", 0xB7, 0, 0, 7))

    def test_writes_a_file(self):
        out = temporary("two.bin")
        run = skep("asm", temporary("two.s", "r0 = 2\nexit\n"), "-o", out)
        self.assertEqual((run.code, run.out, run.err), (0, "", ""))
        self.assertEqual(out.read_bytes(), struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0))

    def test_an_error_names_file_and_line(self):
        run = skep("asm", temporary("bad.s", "r0 = 2\nr0 ?= 3\nexit\n"), "-o", temporary("bad.bin"))
        self.assertEqual(run.code, 2)
        self.assertIn("bad.s:2", run.err)
        self.assertEqual(run.out, "")

    def test_a_jump_out_of_the_program_is_refused(self):
        run = skep("asm", "-", "-o", "-", stdin=b"goto +7\nexit\n")
        self.assertEqual(run.code, 2)
        self.assertEqual(run.bytes, b"")

    def test_a_missing_file_is_named(self):
        run = skep("asm", "/nowhere/x.s", "-o", temporary("x.bin"))
        self.assertEqual(run.code, 2)
        self.assertIn("/nowhere/x.s", run.err)

    def test_an_unwritable_output_is_named(self):
        run = skep("asm", "-", "-o", "/nowhere/x.bin", stdin=b"exit\n")
        self.assertEqual(run.code, 2)
        self.assertIn("/nowhere/x.bin", run.err)


class Disasm(unittest.TestCase):
    def test_round_trip(self):
        text = "r1 = 0x1122334455667788 ll\nw2 = w1\n*(u32 *)(r10 - 4) = r2\nr0 = *(u32 *)(r10 - 4)\nexit\n"
        slots = cli.assemble(text)
        listing = skep("disasm", "--raw", "-", stdin=slots)
        self.assertEqual(listing.code, 0, listing.err)
        self.assertIn("0: ", listing.out)
        self.assertIn("5: exit", listing.out.replace("  ", " "))
        self.assertEqual(cli.assemble(listing.out), slots)

    def test_half_a_slot_is_refused(self):
        run = skep("disasm", "--raw", "-", stdin=b"\x95\0\0\0")
        self.assertEqual(run.code, 2)
        self.assertIn("4 bytes", run.err)

    def test_nothing_is_refused(self):
        self.assertEqual(skep("disasm", "--raw", "-").code, 2)

    def test_an_unknown_opcode_names_its_slot(self):
        run = skep("disasm", "--raw", "-", stdin=b"\xb7" + bytes(7) + b"\xff" + bytes(7))
        self.assertEqual(run.code, 2)
        self.assertIn("slot 1", run.err)


class DisasmObject(unittest.TestCase):
    def test_source_lines_and_names_are_interleaved(self):
        run = skep("disasm", cli.compile_bpf("tools/examples/dns_guard.c"))
        self.assertEqual(run.code, 0, run.err)
        self.assertIn("call bpf_map_lookup_elem", run.out)
        self.assertRegex(run.out, r"r1 = packets\b")
        self.assertRegex(run.out, r"; .*bpf_htons\(blocked_port\).*dns_guard\.c:\d+")

    def test_an_unknown_program_lists_the_others(self):
        run = skep("disasm", cli.compile_bpf("tools/examples/dns_guard.c"), "--program", "nosuch")
        self.assertEqual(run.code, 2)
        self.assertIn("dns_guard", run.err)

    def test_native_code_stands_below_the_bytecode_and_the_source(self):
        objects = cli.compile_bpf("tools/examples/dns_guard.c")
        for arch, ends_with, compare in (("x86-64", "ret", "cmp "), ("arm64", "ret x30", "cmp ")):
            run = skep("disasm", objects, "--native", "--arch", arch)
            self.assertEqual(run.code, 0, run.err)
            self.assertRegex(run.out, r"\d+ bytes of native code, verified")
            # C line, then its bytecode, then the code of that.
            self.assertRegex(run.out, r"; .*dns_guard\.c:\d+\)\n +\d+: .*\n {12}\S")
            self.assertIn(ends_with, run.out)
            self.assertIn(compare, run.out)

    def test_arch_alone_asks_for_native_code(self):
        slots = cli.assemble("r0 = *(u8 *)(r1 + 70)\nexit\n")
        run = skep("disasm", "--raw", "-", "--arch", "arm64", stdin=slots)
        self.assertEqual(run.code, 0, run.err)
        self.assertIn("sandboxed", run.out)
        self.assertIn("ldrb", run.out)
        self.assertIn("out of line:", run.out)
        self.assertEqual(skep("disasm", "--raw", "-", "--arch", "mips", stdin=slots).code, 2)

    def test_neither_or_both_sources_are_bad_usage(self):
        self.assertEqual(skep("disasm").code, 2)
        self.assertEqual(skep("disasm", "x.o", "--raw", "y.bin").code, 2)

    def test_helpers_can_be_called_by_name(self):
        self.assertEqual(cli.assemble("call bpf_ktime_get_ns\nexit\n"), cli.assemble("call 5\nexit\n"))


if __name__ == "__main__":
    cli.main()
