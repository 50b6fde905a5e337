// Maps defined by BTF: sizes and types, flags, pinning, map in map, program arrays with contents.
#include "bpf.h"

struct key { u32 a; u16 b, c; };
struct value { u64 packets, bytes; struct { u8 tag[5]; } inner; };
typedef struct value value_t;

struct { UINT(type, MAP_HASH); UINT(max_entries, 1000); UINT(map_flags, 1); TYPE(key, struct key);
         TYPE(value, value_t); } flows SEC(".maps");
struct { UINT(type, MAP_ARRAY); UINT(key_size, 4); UINT(value_size, 24); UINT(max_entries, 3);
         UINT(pinning, 1); } sizes SEC(".maps");
struct { UINT(type, MAP_PERCPU_ARRAY); UINT(max_entries, 1); TYPE(key, u32); TYPE(value, u64); }
    percpu SEC(".maps");
struct { UINT(type, MAP_RINGBUF); UINT(max_entries, 4096); } ring SEC(".maps");
struct { UINT(type, MAP_BLOOM); UINT(max_entries, 64); TYPE(value, u32); UINT(map_extra, 5); }
    bloom SEC(".maps");

struct inner { UINT(type, MAP_ARRAY); UINT(max_entries, 2); TYPE(key, u32); TYPE(value, u64); }
    inner_one SEC(".maps"), inner_two SEC(".maps");
struct { UINT(type, MAP_ARRAY_OF_MAPS); UINT(max_entries, 4); TYPE(key, u32);
         ARRAY(values, struct inner); } outer SEC(".maps") = {.values = {[1] = &inner_one,
                                                                        [3] = &inner_two}};
struct { UINT(type, MAP_HASH_OF_MAPS); UINT(max_entries, 8); TYPE(key, u32);
         __typeof__(struct { UINT(type, MAP_HASH); UINT(max_entries, 16); TYPE(key, u64);
                             TYPE(value, u32); }) * values[]; } outer_hash SEC(".maps");

int target_one(void* ctx);
int target_two(void* ctx);
struct { UINT(type, MAP_PROG_ARRAY); UINT(max_entries, 5); UINT(key_size, 4);
         int (*values[])(void*); } jumps SEC(".maps") = {
    .values = {[0] = (void*)&target_two, [4] = (void*)&target_one}};

SEC("xdp") int target_one(void* ctx) {
    u32 zero = 0;
    u64* v = map_lookup(&percpu, &zero);
    if (v) ++*v;
    tail_call(ctx, &jumps, 0);
    return 2;
}

SEC("xdp") int target_two(void* ctx) {
    struct key k = {1, 2, 3};
    struct value* v = map_lookup(&flows, &k);
    if (v) v->packets++;
    u32 one = 1;
    void* m = map_lookup(&outer, &one);
    if (m) v = map_lookup(m, &one);
    m = map_lookup(&outer_hash, &one);
    tail_call(ctx, &jumps, 4);
    return v ? 1 : (m != 0);
}

char kLicense[] SEC("license") = "GPL";
