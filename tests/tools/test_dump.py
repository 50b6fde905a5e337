"""run --dump-map: every type of map that there is gives a list of its entries."""
import json
import unittest

from cli import assemble, skep, temporary

# Sizes of key and value, where 4 and 8 will not do.
SIZES = {"prog_array": (4, 4), "perf_event_array": (4, 4), "stack_trace": (4, 80), "cgroup_array": (4, 4),
         "lpm_trie": (8, 8), "array_of_maps": (4, 4), "hash_of_maps": (4, 4), "devmap": (4, 4), "cpumap": (4, 4),
         "xskmap": (4, 4), "queue": (0, 8), "stack": (0, 8), "devmap_hash": (4, 4), "ringbuf": (0, 0),
         "user_ringbuf": (0, 0), "bloom_filter": (0, 8), "cgroup_storage": (8, 8), "percpu_cgroup_storage": (8, 8),
         "arena": (0, 0)}
NO_PREALLOC, MMAPABLE = 1, 1024
FLAGS = {"lpm_trie": NO_PREALLOC, "sk_storage": NO_PREALLOC, "inode_storage": NO_PREALLOC,
         "task_storage": NO_PREALLOC, "cgrp_storage": NO_PREALLOC, "arena": MMAPABLE}
ENTRIES = {"ringbuf": 4096, "user_ringbuf": 4096, "cgroup_storage": 0, "percpu_cgroup_storage": 0, "sk_storage": 0,
           "inode_storage": 0, "task_storage": 0, "cgrp_storage": 0}
# What goes in and comes out again.
CONTENTS = {"hash": [{"key": 7, "value": 9}], "lru_hash": [{"key": 7, "value": 9}],
            "array": [{"key": 0, "value": 5}, {"key": 1, "value": 6}, {"key": 2, "value": 0}, {"key": 3, "value": 0}]}


def spec(name):
    key, value = SIZES.get(name, (4, 8))
    text = f"type={name},key={key},value={value},entries={ENTRIES.get(name, 4)}"
    if name in FLAGS:
        text += f",flags={FLAGS[name]}"
    return text + (",inner=0" if name.endswith("_of_maps") else "")


class Dump(unittest.TestCase):
    def dump(self, name, *arguments):
        slots = temporary("nothing.bin", assemble("r0 = 2\nexit\n"))
        run = skep("run", "--raw", slots, "--type", "xdp", "--raw-map", "type=array,key=4,value=4,entries=1",
                   "--raw-map", spec(name), "--dump-map", "map1", "--json", *arguments)
        self.assertEqual(run.code, 0, f"{name}: {run.err}")
        return run.json["maps"]["map1"]

    def test_every_type(self):
        for kind in skep("maps", "--format", "json").json:
            # struct_ops maps hold programs of an object, never data of their own.
            if kind["available"] and kind["name"] != "struct_ops":
                entries = self.dump(kind["name"])
                self.assertEqual(len(entries), 4 if kind["name"] in ("array", "percpu_array") else 0, kind["name"])

    def test_what_goes_in_comes_out(self):
        for name in ("hash", "lru_hash", "array"):
            given = temporary(f"{name}.json", json.dumps(CONTENTS[name]))
            self.assertEqual(self.dump(name, "--map", f"map1={given}"), CONTENTS[name], name)


if __name__ == "__main__":
    unittest.main()
