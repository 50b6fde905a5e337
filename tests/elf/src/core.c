// CO-RE against a kernel's types: offsets, flavors, existence, sizes, bit fields, enumerators, type
// ids, and things that no kernel has.
#include "bpf.h"

#if !defined(__clang__)
#error "bpf-gcc of GCC 12 has not all the builtins"
#endif
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head { struct list_head *next, *prev; };
struct task_struct { int pid; int tgid; struct task_struct* group_leader; char comm[16];
                     unsigned sched_reset_on_fork : 1; unsigned long long start_time; };
struct task_struct___none { int no_such_member; };
struct task_struct___wide { u64 pid; };  // a flavor of another width
struct sk_buff { u32 len; u16 queue_mapping; u8 pkt_type : 3; u32 mark; };
struct no_such_struct { int a; };
union no_such_union { int a; };
enum bpf_map_type { BPF_MAP_TYPE_HASH = 77, BPF_MAP_TYPE_ARRAY = 78 };
enum bpf_map_type___more { BPF_MAP_TYPE_NO_SUCH___more = 5 };
enum no_such_enum { NO_SUCH = 1 };
typedef int pid_t;
struct nested { struct { int x; union { int y; long z; }; } parts[3]; };
struct rcu_head { struct rcu_head* next; };
struct sock_common { u16 skc_family; };
struct sock { struct sock_common __sk_common; };

#pragma clang attribute pop

#define OFFSET(x) __builtin_preserve_field_info(x, 0)
#define SIZE(x) __builtin_preserve_field_info(x, 1)
#define EXISTS(x) __builtin_preserve_field_info(x, 2)
#define SIGNED(x) __builtin_preserve_field_info(x, 3)
#define LSHIFT(x) __builtin_preserve_field_info(x, 4)
#define RSHIFT(x) __builtin_preserve_field_info(x, 5)

u64 out[64];

SEC("kprobe/a") int fields(void* ctx) {
    struct task_struct* t = OPAQUE(ctx);
    struct sk_buff* s = OPAQUE(ctx);
    out[0] = OFFSET(t->pid);
    out[1] = SIZE(t->comm);
    out[2] = EXISTS(t->tgid);
    out[3] = SIGNED(t->pid);
    out[4] = SIGNED(s->len);
    out[5] = LSHIFT(t->sched_reset_on_fork);
    out[6] = RSHIFT(t->sched_reset_on_fork);
    out[7] = OFFSET(t->sched_reset_on_fork);
    out[8] = OFFSET(t->comm[5]);
    out[9] = LSHIFT(s->len);
    out[10] = RSHIFT(s->queue_mapping);
    out[11] = SIZE(t->sched_reset_on_fork);
    out[12] = OFFSET(((struct sock*)ctx)->__sk_common.skc_family);
    return 0;
}

SEC("kprobe/b") int loads(void* ctx) {
    struct task_struct* t = OPAQUE(ctx);
    struct task_struct___wide* w = OPAQUE(ctx);
    u64 sum = t->pid + t->tgid + t->start_time + (u64)t->group_leader->pid;
    t->tgid = 5;
    if (EXISTS(((struct task_struct___none*)ctx)->no_such_member))
        sum += ((struct task_struct___none*)ctx)->no_such_member;
    return (int)(sum + w->pid);
}

SEC("kprobe/c") int missing(void* ctx) {
    struct task_struct___none* t = OPAQUE(ctx);
    struct no_such_struct* n = OPAQUE(ctx);
    out[0] = OFFSET(t->no_such_member);
    return n->a + t->no_such_member;
}

SEC("kprobe/d") int types(void* ctx) {
    (void)ctx;
    out[0] = __builtin_preserve_type_info(*(struct task_struct*)0, 0);
    out[1] = __builtin_preserve_type_info(*(struct no_such_struct*)0, 0);
    out[2] = __builtin_preserve_type_info(*(union no_such_union*)0, 1);
    out[3] = __builtin_preserve_type_info(*(pid_t*)0, 0);
    out[4] = __builtin_preserve_type_info(*(struct task_struct*)0, 1);
    out[5] = __builtin_btf_type_id(*(struct task_struct*)0, 0);
    out[6] = __builtin_btf_type_id(*(struct task_struct*)0, 1);
    out[7] = __builtin_btf_type_id(*(struct no_such_struct*)0, 1);
#if __clang_major__ >= 16
    out[8] = __builtin_preserve_type_info(*(struct rcu_head*)0, 2);
    out[9] = __builtin_preserve_type_info(*(struct list_head*)0, 2);
    out[10] = __builtin_preserve_type_info(*(struct task_struct*)0, 2);
#endif
    return 0;
}

SEC("kprobe/e") int enums(void* ctx) {
    (void)ctx;
    out[0] = __builtin_preserve_enum_value(*(enum bpf_map_type*)BPF_MAP_TYPE_ARRAY, 1);
    out[1] = __builtin_preserve_enum_value(*(enum bpf_map_type*)BPF_MAP_TYPE_HASH, 0);
    out[2] = __builtin_preserve_enum_value(*(enum bpf_map_type___more*)BPF_MAP_TYPE_NO_SUCH___more, 0);
    out[3] = __builtin_preserve_enum_value(*(enum no_such_enum*)NO_SUCH, 0);
    return 0;
}

SEC("kprobe/f") int missing_enum(void* ctx) {
    (void)ctx;
    out[3] = __builtin_preserve_enum_value(*(enum no_such_enum*)NO_SUCH, 1);
    return 0;
}

char kLicense[] SEC("license") = "GPL";
