"""run: records of ring buffers and perf event arrays, iterator output, tasks, sockets."""
import json
import os
import struct
import unittest

import cli
from cli import assemble, compile_bpf, skep, temporary

HEAD = """
#include <linux/bpf.h>
#include <linux/types.h>
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value)* name
static long (*const map_update)(void*, const void*, const void*, __u64) = (void*)2;
static __u64 (*const pid_tgid)(void) = (void*)14;
static long (*const perf_output)(void*, void*, __u64, void*, __u64) = (void*)25;
static __u64 (*const current_task)(void) = (void*)35;
static long (*const read_kernel)(void*, __u32, const void*) = (void*)113;
static long (*const ring_output)(void*, void*, __u64, __u64) = (void*)130;
static void* (*const current_task_btf)(void) = (void*)158;
char license_text[] SEC("license") = "GPL";
"""

EVENTS = HEAD + """
struct event { __u32 pid; __u8 first; char name[3]; };
struct event unused_event;
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
SEC("xdp") int both(struct xdp_md* ctx) {
    __u8* data = (__u8*)(long)ctx->data;
    if (data + 1 > (__u8*)(long)ctx->data_end) return 0;
    struct event e = {.pid = pid_tgid() >> 32, .first = *data, .name = "ab"};
    ring_output(&ring, &e, sizeof e, 0);
    __u16 small = 0x0201;
    perf_output(ctx, &perf, 0xffffffffULL, &small, sizeof small);
    return 2;
}
"""


class Events(unittest.TestCase):
    def run_both(self, *arguments):
        return skep("run", compile_bpf(EVENTS), "--data-hex", "0a" * 20, "--task", "pid=3,tgid=4", "--json",
                    *arguments)

    def test_records_are_counted_and_decoded(self):
        run = self.run_both()
        self.assertEqual(run.code, 0, run.err)
        events = run.json["events"]
        self.assertEqual(events["ring"]["count"], 1)
        self.assertEqual(events["ring"]["records"], [{"pid": 4, "first": 10, "name": "ab"}])
        self.assertEqual(events["perf"]["records"], ["0102"])
        self.assertEqual(events["perf"]["lost"], 0)

    def test_every_run_is_counted(self):
        run = self.run_both("--repeat", "5000")
        self.assertEqual(run.json["events"]["ring"]["count"], 5000)
        self.assertEqual(run.json["events"]["perf"]["count"], 5000)
        self.assertEqual(len(run.json["events"]["ring"]["records"]), 1000)

    def test_records_are_kept(self):
        raw, decoded = temporary("ring.bin"), temporary("perf.json")
        run = self.run_both("--events", f"ring={raw}", "--events", f"perf={decoded}", "--repeat", "3")
        self.assertEqual(run.code, 0, run.err)
        record = struct.pack("<IB3s", 4, 10, b"ab")
        self.assertEqual(raw.read_bytes(), (struct.pack("<I", 8) + record) * 3)
        self.assertEqual(json.loads(decoded.read_text()), ["0102"] * 3)

    def test_text_shows_them(self):
        run = skep("run", compile_bpf(EVENTS), "--data-hex", "0a" * 20)
        self.assertIn("ring: 1 record\n", run.out)
        self.assertIn('"first": 10', run.out)

    def test_other_maps_have_no_records(self):
        run = skep("run", "--raw", "-", "--type", "xdp", "--raw-map", "type=array,key=4,value=4,entries=1",
                   "--events", "map0=x", stdin=assemble("r0 = 0\nexit\n"))
        self.assertEqual(run.code, 2)
        run = self.run_both("--events", "nowhere=x")
        self.assertEqual(run.code, 2)
        self.assertIn("nowhere", run.json["error"]["message"])


TASK = HEAD + """
struct cred_id { unsigned int val; } __attribute__((preserve_access_index));
struct cred { struct cred_id uid; } __attribute__((preserve_access_index));
struct task_struct {
    int pid; int tgid; char comm[16];
    struct task_struct* real_parent; struct task_struct* group_leader; const struct cred* cred;
} __attribute__((preserve_access_index));
struct seen { int pid, tgid, ppid, leader; char comm[16]; };
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, struct seen); }
    tasks SEC(".maps");
SEC("raw_tp/sched_switch") int task(void* ctx) {
    struct task_struct* t = (void*)current_task();
    struct task_struct* other = 0;
    struct seen s = {};
    read_kernel(&s.pid, sizeof s.pid, &t->pid);
    read_kernel(&s.tgid, sizeof s.tgid, &t->tgid);
    read_kernel(&s.comm, sizeof s.comm, &t->comm);
    read_kernel(&other, sizeof other, &t->real_parent);
    read_kernel(&s.ppid, sizeof s.ppid, &other->pid);
    read_kernel(&other, sizeof other, &t->group_leader);
    read_kernel(&s.leader, sizeof s.leader, &other->pid);
    __u32 key = 0;
    map_update(&tasks, &key, &s, 0);
    struct task_struct* typed = current_task_btf();
    struct seen b = {.pid = typed->pid, .tgid = typed->tgid, .ppid = typed->real_parent->pid,
                     .leader = typed->group_leader->pid};
    key = 1;
    map_update(&tasks, &key, &b, 0);
    return typed->comm[0];
}
"""


@unittest.skipUnless(os.path.exists("/sys/kernel/btf/vmlinux"), "the kernel publishes no types")
class Task(unittest.TestCase):
    def test_the_synthetic_task_is_laid_out_by_the_kernels_types(self):
        for mode in "verified", "sandbox":
            run = skep("run", compile_bpf(TASK), "--task", "pid=11,tgid=10,ppid=5,comm=prog", "--dump-map", "tasks",
                       "--mode", mode, "--json")
            self.assertEqual(run.code, 0, run.err)
            self.assertEqual(run.json["retval"], ord("p"), mode)
            by_reads, by_types = (entry["value"] for entry in run.json["maps"]["tasks"])
            self.assertEqual(by_reads, {"pid": 11, "tgid": 10, "ppid": 5, "leader": 10, "comm": "prog"})
            self.assertEqual(by_types, {**by_reads, "comm": ""})


ARGUMENTS = HEAD + """
struct task_struct { int pid; } __attribute__((preserve_access_index));
SEC("tp_btf/sched_wakeup") int wake(__u64* ctx) { return ((struct task_struct*)ctx[0])->pid; }
int seen;
SEC("fentry/wake_up_new_task") int traced(__u64* ctx) {
    struct task_struct* task = (void*)ctx[0];
    seen = !task ? 5 : task->pid;
    return 0;
}
SEC("tracepoint/syscalls/sys_enter_openat") int enter(long* ctx) { return ctx[1] * 100 + ctx[3]; }
SEC("tracepoint/syscalls/sys_exit_openat") int leave(long* ctx) { return ctx[2]; }
"""


class Arguments(unittest.TestCase):
    """--ctx names what contexts of bytes have."""

    def run_one(self, program, *fields):
        arguments = [word for field in fields for word in ("--ctx", field)]
        run = skep("run", compile_bpf(ARGUMENTS), "--program", program, "--task", "pid=11,tgid=10", "--json",
                   *arguments)
        self.assertEqual(run.code, 0, run.err + run.out)
        return run.json["retval"]

    def test_system_calls(self):
        self.assertEqual(self.run_one("enter", "id=2", "args[1]=7"), 207)
        self.assertEqual(self.run_one("leave", "ret=9"), 9)

    @unittest.skipUnless(os.path.exists("/sys/kernel/btf/vmlinux"), "the kernel publishes no types")
    def test_typed_arguments(self):
        self.assertEqual(self.run_one("wake", "arg0=task"), 11)
        self.assertEqual(self.run_one("wake", "arg0=task_struct"), 11)
        # What is not given is an object of the type, as an attached program finds one.
        self.assertEqual(self.run_one("wake"), 11)
        self.assertEqual(self.run_one("wake", "arg0=0"), 0)

    @unittest.skipUnless(os.path.exists("/sys/kernel/btf/vmlinux"), "the kernel publishes no types")
    def test_what_a_traced_function_was_called_with_may_be_null(self):
        for mode in "verified", "sandbox":
            for fields, seen in ([], 11), (["--ctx", "arg0=0"], 5):
                run = skep("run", compile_bpf(ARGUMENTS), "--program", "traced", "--task", "pid=11,tgid=11", "--mode",
                           mode, "--dump-map", ".bss", "--json", *fields)
                self.assertEqual(run.code, 0, run.err)
                self.assertEqual(run.json["maps"][".bss"][0]["value"]["seen"], seen, mode)


ELEMENTS = HEAD + """
static long (*const seq_write)(void*, const void*, __u32) = (void*)127;
struct bpf_map { unsigned int max_entries; } __attribute__((preserve_access_index));
struct bpf_iter_meta { void* seq; } __attribute__((preserve_access_index));
struct context { struct bpf_iter_meta* meta; struct bpf_map* map; __u32* key; __u64* value; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, __u32); __type(value, __u64); }
    table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 3); __type(key, __u32); __type(value, __u64); }
    counts SEC(".maps");
int keys, lasts, maps;
__u64 values;
SEC("iter/bpf_map_elem") int elements(struct context* ctx) {
    __u32* key = ctx->key;
    __u64* value = ctx->value;
    if (!key || !value) { ++lasts; return 0; }
    keys += *key;
    values += *value;
    *value += 100;
    return ctx->map->max_entries == 77;
}
SEC("iter/bpf_map") int all(struct context* ctx) {
    if (!ctx->map) return 0;
    if (ctx->map->max_entries == 8) ++maps;
    return 0;
}
"""


@unittest.skipUnless(os.path.exists("/sys/kernel/btf/vmlinux"), "the kernel publishes no types")
class Iterators(unittest.TestCase):
    def run_one(self, program, mode, *arguments):
        run = skep("run", compile_bpf(ELEMENTS), "--program", program, "--mode", mode, "--dump-map", ".bss",
                   "--dump-map", "table", "--json", *arguments)
        self.assertEqual(run.code, 0, run.err)
        return run.json["maps"][".bss"][0]["value"], run.json["maps"]["table"]

    def test_go_through_the_elements_of_a_map(self):
        contents = temporary("table.json")
        contents.write_text('[{"key": 3, "value": 10}, {"key": 4, "value": 20}]')
        for mode in "verified", "sandbox":
            for engine in "interp", "jit":
                seen, table = self.run_one("elements", mode, "--map", f"table={contents}", "--engine", engine)
                self.assertEqual((seen["keys"], seen["values"], seen["lasts"]), (7, 30, 1), mode)
                self.assertEqual(sorted(entry["value"] for entry in table), [110, 120])

    def test_copies_per_cpu_are_seen_together(self):
        for mode in "verified", "sandbox":
            seen, _ = self.run_one("elements", mode, "--iterate", "counts")
            self.assertEqual((seen["keys"], seen["lasts"]), (3, 1), mode)

    def test_go_through_the_maps(self):
        for mode in "verified", "sandbox":
            seen, _ = self.run_one("all", mode)
            self.assertEqual(seen["maps"], 1, mode)


MAP = HEAD + """
struct bpf_map { enum bpf_map_type map_type; unsigned int key_size, value_size, max_entries; } __attribute__((preserve_access_index));
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 12); __type(key, __u32); __type(value, __u64); }
    table SEC(".maps");
SEC("raw_tp/x") int size(void* ctx) {
    struct bpf_map* map = (void*)&table;
    return map->max_entries * 1000 + map->key_size * 100 + map->value_size * 10 + map->map_type;
}
SEC("raw_tp/y") int whole(void* ctx) {
    struct bpf_map* map = (void*)&table;
    /* The map's operations: a pointer of the kernel's that is nobody's business here. */
    return *(volatile long*)map != 0;
}
"""


@unittest.skipUnless(os.path.exists("/sys/kernel/btf/vmlinux"), "the kernel publishes no types")
class MapPointers(unittest.TestCase):
    def test_lead_to_struct_bpf_map(self):
        run = skep("run", compile_bpf(MAP), "--program", "size", "--json")
        self.assertEqual(run.code, 0, run.err + run.out)
        self.assertEqual(run.json["retval"], 12000 + 400 + 80 + 1)

    def test_lead_to_nothing_of_the_hosts(self):
        run = skep("run", compile_bpf(MAP), "--program", "whole", "--json")
        self.assertEqual((run.code, run.json["retval"]), (0, 0), run.err + run.out)


ITER = HEAD + """
static long (*const seq_printf)(void*, const char*, __u32, const void*, __u32) = (void*)126;
struct seq_file;
struct bpf_iter_meta { struct seq_file* seq; __u64 session_id; __u64 seq_num; } __attribute__((preserve_access_index));
struct task_struct { int pid; char comm[16]; } __attribute__((preserve_access_index));
struct bpf_iter__task { struct bpf_iter_meta* meta; struct task_struct* task; } __attribute__((preserve_access_index));
SEC("iter/task") int dump(struct bpf_iter__task* ctx) {
    struct task_struct* task = ctx->task;
    if (!task) {
        static const char end[] = "end\\n";
        seq_printf(ctx->meta->seq, end, sizeof end, 0, 0);
        return 0;
    }
    static const char format[] = "pid %d %s\\n";
    __u64 values[] = {task->pid, (long)task->comm};
    seq_printf(ctx->meta->seq, format, sizeof format, values, sizeof values);
    return 0;
}
"""


@unittest.skipUnless(os.path.exists("/sys/kernel/btf/vmlinux"), "the kernel publishes no types")
class Iterators(unittest.TestCase):
    def test_tasks(self):
        run = skep("run", compile_bpf(ITER), "--task", "pid=11,tgid=10,comm=prog", "--json")
        self.assertEqual(run.code, 0, run.err + run.out)
        self.assertEqual(run.json["seq"], "pid 11 prog\nend\n")
        run = skep("run", compile_bpf(ITER), "--task", "pid=11,tgid=10,comm=prog")
        self.assertIn("pid 11 prog\nend\n", run.out)


SOCKET = HEAD + """
static long (*const release)(void*) = (void*)86;
static long (*const assign)(void*, void*, __u64) = (void*)124;
static void* (*const lookup)(void*, const void*) = (void*)1;
struct { __uint(type, BPF_MAP_TYPE_SOCKMAP); __uint(max_entries, 2); __type(key, __u32); __type(value, __u64); }
    targets SEC(".maps");
SEC("sk_lookup") int choose(struct bpf_sk_lookup* ctx) {
    __u32 key = ctx->local_port & 1;
    struct bpf_sock* sk = lookup(&targets, &key);
    if (!sk) return 0;
    long error = assign(ctx, sk, 0);
    release(sk);
    return error ? 0 : 1;
}
"""


class Sockets(unittest.TestCase):
    def test_a_lookup_takes_a_socket_of_a_map(self):
        contents = temporary("targets.json", '[{"key": 1, "value": 77}]')
        for mode in "verified", "sandbox":
            for port, verdict in (8080, 0), (8081, 1):
                run = skep("run", compile_bpf(SOCKET), "--map", f"targets={contents}", "--ctx", f"local_port={port}",
                           "--mode", mode, "--json")
                self.assertEqual(run.code, 0, run.err + run.out)
                self.assertEqual(run.json["retval"], verdict)


class Lists(unittest.TestCase):
    """Maps without keys: what --dump-map prints, --map takes."""

    def test_queues_and_stacks_go_in_as_they_come_out(self):
        contents = [{"value": 5}, {"value": 6}, {"value": 7}]
        path = temporary("list.json", json.dumps(contents))
        for kind in "queue", "stack":
            run = skep("run", "--raw", "-", "--type", "xdp", "--raw-map", f"type={kind},key=0,value=4,entries=8",
                       "--map", f"map0={path}", "--dump-map", "map0", "--json",
                       stdin=assemble("r1 = map[0] ll\nr0 = 2\nexit\n"))
            self.assertEqual(run.code, 0, run.err + run.out)
            self.assertEqual(run.json["maps"]["map0"], contents, kind)


if __name__ == "__main__":
    cli.main()
