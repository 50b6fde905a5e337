"""run: every field of every type's context can be set, by name and in UAPI layout, and is read the same in every way."""
import unittest

from cli import assemble, skep, temporary

WAYS = [(mode, engine) for mode in ("verified", "sandbox") for engine in ("interp", "jit")]
# What a program of the type may return, where 1 will not do.
RETURNS = {"flow_dissector": 0}
# Fields that programs of some attach types may read; a raw program has none.
ONLY_ATTACHED = {"xdp": ["egress_ifindex"],
                 "cgroup_sock": ["src_ip4", "src_ip6[0]", "src_ip6[1]", "src_ip6[2]", "src_ip6[3]", "src_port"]}
# Arguments of system calls and probes are bytes: test_events.py.
LENGTHS = {"len", "wire_len", "skb_len", "size", "optlen"}


def types():
    return [t for t in skep("types", "--format", "json").json if t["fields"]]


def numbers(kind):
    """(name for --ctx, offset, size) of every number that a program may read."""
    out = []
    for field in kind["fields"]:
        if field["kind"] != "scalar" or not field["readable"] or field["name"] in LENGTHS:
            continue
        element = field.get("element") or min(field["size"], 8)
        if field["size"] > 8 and not field.get("element"):
            element = 8 if field["name"] == "regs" else 4
        for index in range(field["size"] // element):
            name = field["name"] if field["size"] == element else f"{field['name']}[{index}]"
            out.append((name, field["offset"] + index * element, element))
    return out


def program(kind, fields):
    """Stores every field into the one value of map 0, 8 bytes each."""
    text = ["r6 = r1"]
    for at, (_, offset, size) in enumerate(fields):
        text += [f"r2 = *(u{size * 8} *)(r6 + {offset})", "r1 = map[0] + 0 ll", f"*(u64 *)(r1 + {at * 8}) = r2"]
    return "\n".join(text + [f"r0 = {RETURNS.get(kind['name'], 1)}", "exit", ""])


class Fields(unittest.TestCase):
    def allowed(self, kind, fields):
        """Without the fields that only programs of some attach types may read."""
        while fields:
            slots = temporary(f"fields-{kind['name']}.bin", assemble(program(kind, fields)))
            run = skep("verify", "--raw", slots, "--type", kind["name"], "--raw-map",
                       f"type=array,key=4,value={len(fields) * 8},entries=1", "--json")
            error = run.json["programs"][0]["error"]
            if error is None:
                return fields
            self.assertEqual(error["code"], "bad_context_field", error)
            index = (error["insn"] - 1) // 4
            fields = fields[:index] + fields[index + 1:]
        return fields

    def seen(self, kind, fields, way, arguments):
        slots = temporary(f"fields-{kind['name']}.bin", assemble(program(kind, fields)))
        run = skep("run", "--raw", slots, "--type", kind["name"], "--raw-map",
                   f"type=array,key=4,value={len(fields) * 8},entries=1", "--dump-map", "map0", "--mode", way[0],
                   "--engine", way[1], "--json", *arguments)
        self.assertEqual(run.code, 0, f"{kind['name']}: {run.err}{run.out[:500]}")
        value = bytes.fromhex(run.json["maps"]["map0"][0]["value"])
        return [int.from_bytes(value[at:at + 8], "little") for at in range(0, len(value), 8)]

    def test_set_by_name_are_read_in_every_way(self):
        for kind in types():
            fields = [f for f in numbers(kind) if "[" not in f[0] or len(f[0].split("[")[1]) == 2]
            before = fields
            fields = self.allowed(kind, fields)
            self.assertEqual([f[0] for f in before if f not in fields], ONLY_ATTACHED.get(kind["name"], []))
            if not fields:
                continue
            wanted = [(i * 7 + 3) & ((1 << size * 8) - 1) for i, (_, _, size) in enumerate(fields)]
            arguments = [word for (name, _, _), value in zip(fields, wanted) for word in ("--ctx", f"{name}={value}")]
            layout = bytearray(kind["context_size"])
            for (_, offset, size), value in zip(fields, wanted):
                layout[offset:offset + size] = value.to_bytes(size, "little")
            for way in WAYS:
                for given in arguments, ["--ctx-hex", layout.hex()]:
                    got = self.seen(kind, fields, way, given)
                    wrong = [(f[0], w, g) for f, w, g in zip(fields, wanted, got) if w != g]
                    self.assertEqual(wrong, [], f"{kind['name']}, {way}, {given[0]}")


if __name__ == "__main__":
    unittest.main()
