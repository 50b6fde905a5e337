"""Packet verdicts and contents as the running kernel's BPF_PROG_TEST_RUN gives them.

Needs root, bpf(2) and libbpf; skipped where one of them is missing.
"""
import ctypes
import os
import random
import struct
import subprocess
import sys
import unittest

import cli
from cli import SOURCE, compile_bpf, debian_object, pcap, skep, temporary


class TestRunOpts(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf."""
    _fields_ = [("sz", ctypes.c_size_t), ("data_in", ctypes.c_void_p), ("data_out", ctypes.c_void_p),
                ("data_size_in", ctypes.c_uint32), ("data_size_out", ctypes.c_uint32),
                ("ctx_in", ctypes.c_void_p), ("ctx_out", ctypes.c_void_p), ("ctx_size_in", ctypes.c_uint32),
                ("ctx_size_out", ctypes.c_uint32), ("retval", ctypes.c_uint32), ("repeat", ctypes.c_int),
                ("duration", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32),
                ("batch_size", ctypes.c_uint32)]


def libbpf():
    if os.geteuid() != 0:
        raise unittest.SkipTest("the kernel's verdicts need root")
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise unittest.SkipTest("libbpf is not installed") from error
    for name in ("bpf_object__open_file", "bpf_object__find_program_by_name", "bpf_object__next_map"):
        getattr(library, name).restype = ctypes.c_void_p
    printer = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    library.silent = printer(lambda *_: 0)
    library.libbpf_set_print(library.silent)
    return library


class Kernel:
    """One program in the kernel."""

    def __init__(self, path, program):
        self.library = libbpf()
        self.object = ctypes.c_void_p(self.library.bpf_object__open_file(str(path).encode(), None))
        if not self.object.value:
            raise unittest.SkipTest(f"libbpf does not open {path}")
        each = None
        while each := self.library.bpf_object__next_map(self.object, ctypes.c_void_p(each)):
            self.library.bpf_map__set_pin_path(ctypes.c_void_p(each), None)  # no bpffs is needed
        error = self.library.bpf_object__load(self.object)
        if error != 0:
            self.library.bpf_object__close(self.object)
            raise unittest.SkipTest(f"the kernel does not load {path}: {os.strerror(-error)}")
        found = ctypes.c_void_p(self.library.bpf_object__find_program_by_name(self.object, program.encode()))
        self.fd = self.library.bpf_program__fd(found)

    def run(self, packet):
        data, out = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(65536)
        opts = TestRunOpts(sz=ctypes.sizeof(TestRunOpts), data_in=ctypes.addressof(data),
                           data_out=ctypes.addressof(out), data_size_in=len(packet), data_size_out=65536)
        if self.library.bpf_prog_test_run_opts(self.fd, ctypes.byref(opts)) != 0:
            return None  # a packet that the runner itself refuses
        return opts.retval, out.raw[:opts.data_size_out]

    def close(self):
        self.library.bpf_object__close(self.object)


def traffic(count=60):
    """Packets of every kind that the example generator makes, and broken ones; the seed is printed."""
    path = temporary("traffic.pcap")
    subprocess.run([sys.executable, SOURCE / "tools/examples/make_pcap.py", path, str(count)], check=True)
    data, at, packets = path.read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        packets.append(data[at + 16:at + 16 + length])
        at += 16 + length
    seed = random.randrange(2**32)
    print(f"seed {seed}", file=sys.stderr)
    generator = random.Random(seed)
    for packet in packets[:30]:
        mutated = bytearray(packet)
        for _ in range(generator.randrange(1, 6)):
            mutated[generator.randrange(len(mutated))] = generator.randrange(256)
        packets.append(bytes(mutated[:generator.randrange(34, len(mutated) + 1)]))
    return packets


class AgainstTheKernel(unittest.TestCase):
    def compare(self, path, program):
        kernel = Kernel(path, program)
        packets = traffic()
        expected = [kernel.run(packet) for packet in packets]
        packets = [packet for packet, result in zip(packets, expected) if result]
        expected = [result for result in expected if result]
        self.assertGreater(len(packets), 60)
        kernel.close()
        out = temporary("kernel.pcapng")
        run = skep("run", path, "--program", program, "--pcap", temporary("kernel.pcap", pcap(packets)),
                   "--frame", "test_run", "--per-packet", "--out", out, "--json")
        self.assertEqual(run.code, 0, run.err)
        rows = run.json["packets"]["rows"]
        self.assertEqual([row["retval"] for row in rows], [retval for retval, _ in expected])
        on = [data for (_, data), row in zip(expected, rows) if row["verdict"] in
              ("pass", "tx", "redirect", "ok", "reclassify", "pipe", "unspec")]
        self.assertEqual([data for data, *_ in cli.read_pcapng(out.read_bytes())], on)

    def test_the_example(self):
        self.compare(compile_bpf("tools/examples/dns_guard.c"), "dns_guard")

    def test_debians_filters(self):
        for name in ("xdpfilt_alw_all", "xdpfilt_dny_all", "xdpfilt_alw_udp", "xdpfilt_dny_ip", "xdpfilt_alw_eth"):
            with self.subTest(name):
                self.compare(debian_object(name + ".o"), name)

    def test_a_tc_program_that_reads_everything(self):
        self.compare(compile_bpf(TC), "hash")

    def test_an_xdp_program_that_changes_packets(self):
        helpers = {row["name"]: row["available"] for row in skep("helpers", "--format", "json").json}
        if not helpers["bpf_xdp_adjust_head"] or not helpers["bpf_xdp_adjust_tail"]:
            self.skipTest("bpf_xdp_adjust_head or _tail is not built in")
        self.compare(compile_bpf(XDP), "encap")


TC = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int hash(struct __sk_buff *skb) {
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    __u32 h = skb->len * 31 + skb->protocol;
    h = h * 31 + skb->vlan_present + skb->pkt_type * 7 + skb->ifindex;
#pragma clang loop unroll(full)
    for (int i = 0; i < 32; i++) {
        __u8 *p = data + i;
        if (p + 1 > end) break;
        h = h * 31 + *p;
    }
    return h & 1 ? TC_ACT_OK : TC_ACT_SHOT;
}
char LICENSE[] SEC("license") = "GPL";
"""

XDP = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int encap(struct xdp_md *ctx) {
    if (bpf_xdp_adjust_head(ctx, -20)) return XDP_ABORTED;
    if (bpf_xdp_adjust_tail(ctx, -4)) return XDP_ABORTED;
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 34 > end) return XDP_DROP;
    __builtin_memcpy(data, data + 20, 14);
    __builtin_memset(data + 14, 0x5a, 20);
    return XDP_TX;
}
char LICENSE[] SEC("license") = "GPL";
"""


if __name__ == "__main__":
    cli.main()
