// Before BTF: SEC("maps") with iproute2's definitions, tail calls wired by section name, static
// maps. libbpf 1.x refuses these.
#include "bpf.h"

struct bpf_elf_map { u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx; };

struct bpf_elf_map SEC("maps") jumps = {MAP_PROG_ARRAY, 4, 4, 8, 0, 2, 0, 0, -1};
struct bpf_elf_map SEC("maps") stats = {MAP_ARRAY, 4, 8, 16, 0, 7, 2, 0, -1};
struct bpf_elf_map SEC("maps") outer = {MAP_ARRAY_OF_MAPS, 4, 4, 4, 0, 9, 0, 11, -1};
struct bpf_elf_map SEC("maps") inner = {MAP_HASH, 4, 8, 32, 1, 11, 0, 0, 3};

SEC("classifier") int entry(void* ctx) {
    u32 k = 1;
    u64* v = map_lookup(&stats, &k);
    if (v) ++*v;
    map_lookup(&outer, &k);
    tail_call(ctx, &jumps, 7);
    return 0;
}
SEC("2/7") int seventh(void* ctx) { tail_call(ctx, &jumps, 5); return 1; }
SEC("0x2/5") int fifth(void* ctx) { (void)ctx; return 2; }

char kLicense[] SEC("license") = "GPL";
