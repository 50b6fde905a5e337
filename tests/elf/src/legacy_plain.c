// SEC("maps") with the definition of libbpf before 1.0, and a static map.
#include "bpf.h"

struct bpf_map_def { u32 type, key_size, value_size, max_entries, map_flags; };

struct bpf_map_def SEC("maps") counters = {MAP_PERCPU_ARRAY, 4, 8, 4, 0};
static struct bpf_map_def SEC("maps") hidden = {MAP_HASH, 8, 16, 128, 1};

SEC("socket1") int filter(void* ctx) {
    (void)ctx;
    u64 k = 3;
    u64* v = map_lookup(&hidden, &k);
    if (!v) v = map_lookup(&counters, &k);
    return v ? (int)*v : 0;
}

char kLicense[] SEC("license") = "GPL";
