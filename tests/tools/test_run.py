"""run: results, packets, maps, determinism, errors."""
import json
import struct
import unittest

import cli
from cli import assemble, compile_bpf, pcap, skep, temporary

ETHERNET = bytes.fromhex("020000000001020000000002")
FIELDS = ["program", "engine", "mode", "policy", "retval", "retval_hex", "trap", "error", "repeat",
          "ns_per_run", "load_us", "verify_us", "jit_us", "code_bytes", "data_out", "packets",
          "packets_per_s", "trace", "maps"]


def udp(port, payload=b"x" * 18):
    header = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0,
                     bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    return ETHERNET + b"\x08\x00" + ip + header + payload


def raw(text, *arguments):
    return skep("run", "--raw", "-", "--type", "raw", "--json", *arguments, stdin=assemble(text))


class Raw(unittest.TestCase):
    def test_json_has_the_fields_in_order(self):
        run = raw("r0 = 7\nexit\n")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(list(run.json), FIELDS)
        self.assertEqual(run.json["retval"], 7)
        self.assertEqual(run.json["retval_hex"], "0x7")
        self.assertEqual((run.json["trap"], run.json["error"], run.json["packets"]), (None, None, None))
        self.assertEqual((run.json["repeat"], run.json["ns_per_run"]), (1, None))
        self.assertEqual(run.json["data_out"], "")

    def test_retval_is_64_bits(self):
        run = raw("r0 = -1\nexit\n")
        self.assertEqual(run.json["retval"], 2**64 - 1)
        self.assertEqual(run.json["retval_hex"], "0xffffffffffffffff")

    def test_without_data_both_arguments_are_zero(self):
        self.assertEqual(raw("r0 = r1\nr0 |= r2\nexit\n", "--mode", "sandbox").json["retval"], 0)

    def test_r1_is_memory_and_r2_its_length(self):
        text = "r0 = *(u8 *)(r1 + 2)\nr0 <<= 8\nr0 |= r2\nexit\n"
        self.assertEqual(raw(text, "--data-hex", "0a0b0c0d").json["retval"], 0x0C04)
        path = temporary("four.bin", b"\x0a\x0b\x0c\x0d")
        self.assertEqual(raw(text, "--data", path).json["retval"], 0x0C04)

    def test_stores_show_in_data_out(self):
        run = raw("r2 = 0x55\n*(u8 *)(r1 + 1) = r2\nr0 = 0\nexit\n", "--data-hex", "0a0b0c0d")
        self.assertEqual(run.json["data_out"], "0a550c0d")

    def test_repeat_runs_start_from_the_original_data(self):
        text = "r0 = *(u8 *)(r1 + 0)\nr0 += 1\n*(u8 *)(r1 + 0) = r0\nexit\n"
        run = raw(text, "--data-hex", "05", "--repeat", "100")
        self.assertEqual((run.json["retval"], run.json["data_out"]), (6, "06"))
        self.assertEqual(run.json["repeat"], 100)
        self.assertGreater(run.json["ns_per_run"], 0)

    def test_a_trap_is_reported_with_its_place(self):
        run = raw("r0 = 0\nr0 = *(u64 *)(r1 + 0)\nexit\n", "--mode", "sandbox", "--data-hex", "00")
        self.assertEqual(run.code, 1)
        self.assertIsNone(run.json["retval"])
        self.assertEqual(run.json["trap"]["code"], "out_of_bounds")
        self.assertEqual(run.json["trap"]["slot"], 1)
        self.assertEqual(list(run.json["trap"]), ["code", "slot", "file", "line", "message"])

    def test_an_endless_loop_ends(self):
        run = raw("r0 = 0\nagain:\nr0 += 1\ngoto again\nexit\n", "--mode", "sandbox", "--fuel", "1000")
        self.assertEqual((run.code, run.json["trap"]["code"]), (1, "fuel"))

    def test_text_names_the_result(self):
        run = skep("run", "--raw", "-", "--type", "raw", stdin=assemble("r0 = 7\nexit\n"))
        self.assertEqual(run.code, 0, run.err)
        self.assertIn("retval 7 (0x7)", run.out)

    def test_maps_by_index(self):
        text = """
            *(u32 *)(r10 - 4) = 3
            r1 = map[0] ll
            r2 = r10
            r2 += -4
            call bpf_map_lookup_elem
            if r0 == 0 goto out
            r0 = *(u64 *)(r0 + 0)
            out:
            exit
        """
        spec = "type=array,key=4,value=8,entries=8"
        contents = temporary("array.json", json.dumps([{"key": 3, "value": 41}]))
        run = raw(text, "--raw-map", spec, "--map", f"map0={contents}", "--dump-map", "map0")
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(run.json["retval"], 41)
        self.assertEqual(run.json["maps"]["map0"][3], {"key": 3, "value": 41})

    def test_random_and_clock_are_the_same_every_time(self):
        text = "call bpf_get_prandom_u32\nr6 = r0\ncall bpf_ktime_get_ns\nr0 ^= r6\nexit\n"
        first = raw(text)
        self.assertEqual(first.code, 0, first.err)
        self.assertEqual(first.json["retval"], raw(text).json["retval"])
        self.assertNotEqual(first.json["retval"], raw(text, "--seed", "2").json["retval"])
        self.assertNotEqual(first.json["retval"], raw(text, "--clock", "fixed:5").json["retval"])

    def test_identity_is_injected(self):
        text = "call bpf_get_current_pid_tgid\nexit\n"
        run = raw(text, "--task", "pid=7,tgid=9,comm=bee")
        self.assertEqual(run.json["retval"], 9 << 32 | 7)
        run = raw("call bpf_get_smp_processor_id\nexit\n", "--cpu", "3")
        self.assertEqual(run.json["retval"], 3)


class Packets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.object = compile_bpf("tools/examples/dns_guard.c")
        cls.capture = temporary("mixed.pcap", pcap([udp(53), udp(80), udp(53), udp(443), b"\0" * 60]))

    def run_object(self, *arguments):
        run = skep("run", self.object, "--json", *arguments)
        self.assertEqual(run.code, 0, run.err)
        return run.json

    def test_verdicts_are_counted_by_name(self):
        result = self.run_object("--pcap", self.capture)
        self.assertEqual(list(result), FIELDS)
        self.assertEqual(result["packets"], {"total": 5, "trapped": 0, "aborted": 0, "drop": 2, "pass": 3,
                                             "tx": 0, "redirect": 0, "other": {}})
        self.assertGreater(result["packets_per_s"], 0)

    def test_per_packet_rows(self):
        rows = self.run_object("--pcap", self.capture, "--per-packet")["packets"]["rows"]
        self.assertEqual([row["verdict"] for row in rows], ["drop", "pass", "drop", "pass", "pass"])
        self.assertEqual(rows[0], {"n": 0, "retval": 1, "verdict": "drop", "len": 60})

    def test_maps_come_out_in_the_shape_of_their_types(self):
        result = self.run_object("--pcap", self.capture, "--dump-map", "packets")
        self.assertEqual(result["maps"]["packets"],
                         [{"key": 17, "value": {"packets": 4, "bytes": 240}}])

    def test_maps_round_trip(self):
        contents = [{"key": 17, "value": {"packets": 100, "bytes": 2**40}}]
        path = temporary("packets.json", json.dumps(contents))
        result = self.run_object("--pcap", self.capture, "--map", f"packets={path}", "--dump-map", "packets")
        self.assertEqual(result["maps"]["packets"], [{"key": 17, "value": {"packets": 104, "bytes": 2**40 + 240}}])

    def test_globals_are_set_before_loading(self):
        result = self.run_object("--pcap", self.capture, "--set", "blocked_port=443")
        self.assertEqual(result["packets"]["drop"], 1)
        path = temporary("rodata.json", json.dumps({"blocked_port": 80}))
        result = self.run_object("--pcap", self.capture, "--map", f".rodata={path}")
        self.assertEqual(result["packets"]["drop"], 1)
        path = temporary("rodata.bin", struct.pack("<H", 80))
        result = self.run_object("--pcap", self.capture, "--map", f"dns_guard.rodata={path}")
        self.assertEqual(result["packets"]["drop"], 1)

    def test_out_has_the_packets_that_go_on(self):
        out = temporary("out.pcapng")
        self.run_object("--pcap", self.capture, "--out", out)
        packets = cli.read_pcapng(out.read_bytes())
        self.assertEqual([data for data, *_ in packets], [udp(80), udp(443), b"\0" * 60])
        self.assertEqual([time for _, _, time, _ in packets],
                         [1_700_000_000 * 10**9 + n * 1000 for n in (1, 3, 4)])
        self.assertEqual({comment for *_, comment in packets}, {"pass"})

    def test_out_can_be_read_again(self):
        out = temporary("again.pcapng")
        self.run_object("--pcap", self.capture, "--out", out)
        result = self.run_object("--pcap", out)
        self.assertEqual((result["packets"]["total"], result["packets"]["pass"]), (3, 3))

    def test_the_same_input_gives_the_same_bytes(self):
        outs = [temporary(f"same{n}.pcapng") for n in range(2)]
        results = [self.run_object("--pcap", self.capture, "--out", out, "--dump-map", "packets",
                                   "--per-packet") for out in outs]
        self.assertEqual(outs[0].read_bytes(), outs[1].read_bytes())
        self.assertEqual(results[0]["packets"], results[1]["packets"])
        self.assertEqual(results[0]["maps"], results[1]["maps"])

    def test_one_packet_from_data(self):
        result = self.run_object("--data-hex", udp(53).hex())
        self.assertEqual((result["retval"], result["packets"]), (1, None))
        self.assertEqual(result["data_out"], udp(53).hex())

    def test_repeat_replays_the_capture(self):
        result = self.run_object("--pcap", self.capture, "--repeat", "20")
        self.assertEqual((result["packets"]["total"], result["packets"]["drop"]), (100, 40))

    def test_truncated_packets_are_flagged(self):
        short = temporary("short.pcap", pcap([udp(53), udp(80)], cut=40))
        run = skep("run", self.object, "--json", "--pcap", short, "--per-packet")
        self.assertEqual(run.code, 0, run.err)
        self.assertTrue(all(row["truncated"] for row in run.json["packets"]["rows"]))
        self.assertIn("2 packets are cut short", run.err)

    def test_link_types_without_ethernet_are_mapped(self):
        ip = udp(53)[14:]
        forms = {101: ip, 0: struct.pack("<I", 2) + ip,
                 113: struct.pack("!HHH8sH", 0, 1, 6, b"\2" * 8, 0x0800) + ip,
                 276: struct.pack("!HHIHBB8s", 0x0800, 0, 1, 1, 0, 6, b"\2" * 8) + ip}
        for link, data in forms.items():
            with self.subTest(link):
                path = temporary(f"link{link}.pcap", pcap([data], link_type=link))
                self.assertEqual(self.run_object("--pcap", path)["packets"]["drop"], 1)

    def test_another_link_type_is_refused_with_a_hint(self):
        path = temporary("wifi.pcap", pcap([b"\0" * 40], link_type=105))
        run = skep("run", self.object, "--pcap", path)
        self.assertEqual(run.code, 2)
        self.assertIn("IEEE802_11", run.err)
        self.assertIn("EN10MB", run.err)

    def test_text_is_a_table(self):
        run = skep("run", self.object, "--pcap", self.capture)
        self.assertEqual(run.code, 0, run.err)
        self.assertRegex(run.out, r"drop +2 +40\.0%")
        self.assertRegex(run.out, r"pass +3 +60\.0%")
        self.assertIn("packets/s", run.out)
        self.assertNotIn("\x1b", run.out + run.err)


TC = """
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
struct seen { __u32 len, protocol, vlan_present, vlan_tci, mark, first; };
struct seen seen;
SEC("tc") int look(struct __sk_buff *skb) {
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    seen.len = skb->len;
    seen.protocol = skb->protocol;
    seen.vlan_present = skb->vlan_present;
    seen.vlan_tci = skb->vlan_tci;
    seen.mark = skb->mark;
    if (data + 1 <= end) seen.first = *(__u8 *)data;
    return TC_ACT_OK;
}
SEC("cgroup_skb/egress") int look_l3(struct __sk_buff *skb) {
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    seen.len = skb->len;
    if (data + 1 <= end) seen.first = *(__u8 *)data;
    return 1;
}
char LICENSE[] SEC("license") = "GPL";
"""


class Framing(unittest.TestCase):
    def look(self, program, packet, *arguments):
        capture = temporary("framing.pcap", pcap([packet]))
        out = temporary("framing.pcapng")
        run = skep("run", compile_bpf(TC), "--program", program, "--pcap", capture, "--out", out,
                   "--dump-map", ".bss", "--json", *arguments)
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual([data for data, *_ in cli.read_pcapng(out.read_bytes())], [packet])
        return run.json["maps"][".bss"][0]["value"]["seen"]

    def test_tc_sees_the_frame_without_its_vlan_tag(self):
        plain = udp(53)
        tagged = plain[:12] + bytes.fromhex("81002064") + plain[12:]
        seen = self.look("look", tagged)
        self.assertEqual((seen["len"], seen["vlan_present"], seen["vlan_tci"]), (len(plain), 1, 0x2064))
        self.assertEqual(seen["protocol"], 0x0008)
        seen = self.look("look", tagged, "--frame", "test_run")
        self.assertEqual((seen["len"], seen["vlan_present"]), (len(tagged), 0))
        self.assertEqual(seen["protocol"], 0x0081)

    def test_cgroup_programs_see_the_ip_packet(self):
        seen = self.look("look_l3", udp(53))
        self.assertEqual((seen["len"], seen["first"]), (46, 0x45))

    def test_context_fields_can_be_set(self):
        self.assertEqual(self.look("look", udp(53), "--ctx", "mark=0x77")["mark"], 0x77)
        self.assertEqual(self.look("look", udp(53), "--ctx-hex", "00" * 8 + "44332211")["mark"], 0x11223344)


class Errors(unittest.TestCase):
    def refuse(self, code, words, *arguments, **options):
        run = skep("run", *arguments, **options)
        self.assertEqual(run.code, code, run.err)
        for word in words:
            self.assertIn(word, run.err)
        self.assertNotIn("terminate", run.err)
        return run

    def test_nothing_to_run(self):
        self.refuse(2, ["--raw"])

    def test_a_missing_object(self):
        self.refuse(2, ["/nowhere/x.o"], "/nowhere/x.o")

    def test_a_file_that_is_no_object(self):
        self.refuse(2, ["text.o"], temporary("text.o", "hello, this is no object"))

    def test_raw_needs_a_type(self):
        self.refuse(2, ["--type"], "--raw", "-", stdin=assemble("r0 = 0\nexit\n"))

    def test_an_unknown_type_lists_close_ones(self):
        self.refuse(2, ["xdq", "xdp"], "--raw", "-", "--type", "xdq", stdin=assemble("r0 = 0\nexit\n"))

    def test_several_programs_are_listed(self):
        run = self.refuse(2, ["look", "look_l3", "--program"], compile_bpf(TC))
        self.assertEqual(run.out, "")
        self.refuse(2, ["nosuch", "look_l3"], compile_bpf(TC), "--program", "nosuch")

    def test_programs_by_section_and_index(self):
        for name in ("tc", "0", "look"):
            run = skep("run", compile_bpf(TC), "--program", name, "--json")
            self.assertEqual((run.code, run.json["program"]), (0, "look"), run.err)

    def test_options_that_exclude_each_other(self):
        path = temporary("any.pcap", pcap([udp(53)]))
        self.refuse(2, ["--pcap", "--data"], compile_bpf(TC), "--program", "look", "--pcap", path, "--data-hex", "00")
        self.refuse(2, ["--out"], compile_bpf(TC), "--program", "look", "--out", temporary("x.pcapng"))

    def test_bad_values_name_their_option(self):
        slots = assemble("r0 = 0\nexit\n")
        for arguments, words in [
                (["--data-hex", "0"], ["--data-hex", "odd"]),
                (["--data-hex", "zz"], ["--data-hex", "'z'"]),
                (["--clock", "soon"], ["--clock", "soon"]),
                (["--clock", "pcap"], ["--clock", "--pcap"]),
                (["--task", "pid=x"], ["--task", "x"]),
                (["--task", "nose=1"], ["--task", "nose"]),
                (["--cpu", "99"], ["--cpu", "99"]),
                (["--engine", "steam"], ["--engine", "steam"]),
                (["--mode", "steam"], ["--mode", "steam"]),
                (["--repeat", "0"], ["--repeat"]),
                (["--raw-map", "type=hash,key=x"], ["--raw-map", "x"]),
                (["--raw-map", "colour=red"], ["--raw-map", "colour"]),
                (["--dump-map", "m"], ["--dump-map", "'m'"]),
                (["--map", "m"], ["--map", "NAME=VALUE"])]:
            with self.subTest(arguments):
                self.refuse(2, words, "--raw", "-", "--type", "raw", *arguments, stdin=slots)

    def test_unknown_names_list_what_there_is(self):
        guard = compile_bpf("tools/examples/dns_guard.c")
        self.refuse(2, ["blocked_porT", "blocked_port"], guard, "--set", "blocked_porT=1")
        self.refuse(2, ["pakets", "packets"], guard, "--map", "pakets=x.json")
        self.refuse(2, ["pakets", "packets"], guard, "--map-size", "pakets=9")
        self.refuse(2, ["nosuch", "ingress_ifindex"], guard, "--ctx", "nosuch=1")

    def test_bad_map_contents_name_file_entry_and_member(self):
        guard = compile_bpf("tools/examples/dns_guard.c")
        for contents, words in [("[{]", ["line 1"]), ("{}", ["list"]),
                                ('[{"key": 1}]', ["entry 0", "value"]),
                                ('[{"key": 300, "value": {}}]', ["entry 0", "300", "8 bits"]),
                                ('[{"key": 1, "value": {"pakets": 1}}]', ["pakets", "struct counter"]),
                                ('[{"key": 1, "value": {"bytes": "many"}}]', ["bytes", "many"])]:
            with self.subTest(contents):
                path = temporary("bad.json", contents)
                self.refuse(2, [*words, "bad.json"], guard, "--map", f"packets={path}")

    def test_errors_are_in_the_json_too(self):
        run = skep("run", "/nowhere/x.o", "--json")
        self.assertEqual(run.code, 2)
        self.assertEqual(list(run.json), FIELDS)
        self.assertEqual(list(run.json["error"]), ["code", "insn", "file", "line", "message"])
        self.assertEqual(run.json["error"]["code"], "unreadable")

    def test_a_broken_capture_is_refused(self):
        self.refuse(2, ["junk.pcap"], compile_bpf(TC), "--program", "look", "--pcap",
                    temporary("junk.pcap", "not a capture at all"))
        self.refuse(2, ["/nowhere"], compile_bpf(TC), "--program", "look", "--pcap", "/nowhere/x.pcap")


if __name__ == "__main__":
    cli.main()
