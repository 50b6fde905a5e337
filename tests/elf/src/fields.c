// Special fields in values and in data: locks, timers, kptrs, lists.
#include "bpf.h"

struct bpf_spin_lock { u32 val; };
struct bpf_timer { u64 a, b; } __attribute__((aligned(8)));
struct bpf_list_head { u64 a, b; } __attribute__((aligned(8)));
struct bpf_list_node { u64 a, b, c; } __attribute__((aligned(8)));
struct task;

#if __has_attribute(btf_type_tag)
#define KPTR __attribute__((btf_type_tag("kptr")))
#else
#define KPTR
#endif
#if __has_attribute(btf_decl_tag)
#define CONTAINS(what) __attribute__((btf_decl_tag("contains:" what)))
#else
#define CONTAINS(what)
#endif

struct item { u64 data; struct bpf_list_node node; };
struct value { u64 count; struct bpf_spin_lock lock; u32 pad; struct bpf_timer timers[2];
               struct task KPTR* task; };
struct { UINT(type, MAP_HASH); UINT(max_entries, 16); TYPE(key, u32); TYPE(value, struct value); }
    values SEC(".maps");

struct bpf_spin_lock lock SEC(".bss.lists");
struct bpf_list_head head SEC(".bss.lists") CONTAINS("item:node");
struct item* keep_the_type;

SEC("tc") int touch(void* ctx) {
    (void)ctx;
    u32 k = 1;
    struct value* v = map_lookup(&values, &k);
    if (v) v->count++;
    return keep_the_type != 0 && (u64)&head > (u64)&lock;
}

char kLicense[] SEC("license") = "GPL";
