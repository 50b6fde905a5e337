// Programs that call kernel functions on the kernel's objects, and global functions with tagged
// parameters. Linux 6.18 accepts "ok_..." and refuses "bad_..." (tests/elf/kfunc_verdict_test.cpp).
#include "kernel.h"

#define TAG(text) __attribute__((btf_decl_tag("arg:" text)))

struct cpumask {
    u64 bits[1];
};
struct bpf_cpumask {
    struct cpumask mask;
};
struct cgroup_subsys_state {
    int id;
} CORE;
struct cgroup {
    struct cgroup_subsys_state self;
    struct kernfs_node* kn;
} CORE;
struct task_struct {
    int pid;
    struct task_struct *real_parent, *group_leader, *last_wakee;
    struct css_set* cgroups;
    struct cpumask* cpus_ptr;
} CORE;
struct skb_shared_info {
    u8 nr_frags;
} CORE;
struct sk_buff {
    struct sk_buff* next;
    u32 len, mark, end;
    u8* head;
    struct net_device* dev;
} CORE;
struct bpf_wq {
    u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_iter__task {
    void* meta;
    struct task_struct* task;
} CORE;

HELPER(148, long, copy_from_user, void* to, u32 size, const void* from);
HELPER(158, struct task_struct*, current_task, void);

extern struct task_struct* bpf_task_acquire(struct task_struct* p) KSYM;
extern void bpf_task_release(struct task_struct* p) KSYM;
extern struct cgroup* bpf_cgroup_acquire(struct cgroup* p) KSYM;
extern struct cgroup* bpf_cgroup_from_id(u64 id) KSYM;
extern void bpf_cgroup_release(struct cgroup* p) KSYM;
extern void bpf_rcu_read_lock(void) KSYM;
extern void bpf_rcu_read_unlock(void) KSYM;
extern void bpf_preempt_disable(void) KSYM;
extern void bpf_preempt_enable(void) KSYM;
extern void bpf_local_irq_save(unsigned long* flags) KSYM;
extern void bpf_local_irq_restore(unsigned long* flags) KSYM;
extern int bpf_iter_task_new(struct bpf_iter_task* it, struct task_struct* task, u32 flags) KSYM;
extern struct task_struct* bpf_iter_task_next(struct bpf_iter_task* it) KSYM;
extern void bpf_iter_task_destroy(struct bpf_iter_task* it) KSYM;
extern int bpf_iter_css_new(struct bpf_iter_css* it, struct cgroup_subsys_state* start,
                            u32 flags) KSYM;
extern struct cgroup_subsys_state* bpf_iter_css_next(struct bpf_iter_css* it) KSYM;
extern void bpf_iter_css_destroy(struct bpf_iter_css* it) KSYM;
extern void* bpf_cast_to_kern_ctx(void* ctx) KSYM;
extern void* bpf_rdonly_cast(const void* object, u32 type) KSYM;
extern struct bpf_cpumask* bpf_cpumask_create(void) KSYM;
extern void bpf_cpumask_release(struct bpf_cpumask* mask) KSYM;
extern void bpf_cpumask_copy(struct bpf_cpumask* to, const struct cpumask* from) KSYM;
extern _Bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask* mask) KSYM;
extern u32 bpf_cpumask_first(const struct cpumask* mask) KSYM;
extern int bpf_dynptr_from_skb(struct sk_buff* s, u64 flags, struct bpf_dynptr* out) KSYM;
extern int bpf_dynptr_from_xdp(struct xdp_md* x, u64 flags, struct bpf_dynptr* out) KSYM;
extern u32 bpf_dynptr_size(const struct bpf_dynptr* p) KSYM;
extern int bpf_copy_from_user_str(void* to, u32 size, const void* from, u64 flags) KSYM;
extern void bpf_throw(u64 cookie) KSYM;
extern int bpf_wq_init(struct bpf_wq* wq, void* map, u32 flags) KSYM;
extern int bpf_wq_start(struct bpf_wq* wq, u32 flags) KSYM;
extern int bpf_wq_set_callback_impl(struct bpf_wq* wq, int (*callback)(void*, int*, void*),
                                    u32 flags, void* aux) KSYM;
extern int bpf_no_such_function(int) KSYM WEAK;

char _license[] SEC("license") = "GPL";

#define SWITCH SEC("tp_btf/sched_switch")
#define TASK ((struct task_struct*)args[1])

SWITCH int ok_argument(u64* args) {
    struct task_struct* t = bpf_task_acquire(TASK);
    if (t) bpf_task_release(t);
    return 0;
}
SWITCH int ok_parent_under_rcu(u64* args) {
    struct task_struct* t = bpf_task_acquire(TASK->real_parent);
    if (t) bpf_task_release(t);
    return 0;
}
SWITCH int ok_two_steps(u64* args) {
    struct task_struct* t = bpf_task_acquire(TASK->group_leader->real_parent);
    if (t) bpf_task_release(t);
    return 0;
}
SWITCH int bad_field_without_rcu(u64* args) {
    struct task_struct* t = bpf_task_acquire(TASK->last_wakee);
    if (t) bpf_task_release(t);
    return 0;
}
SWITCH int bad_released_twice(u64* args) {
    struct task_struct* t = bpf_task_acquire(TASK);
    if (!t) return 0;
    bpf_task_release(t);
    bpf_task_release(t);
    return 0;
}
SWITCH int bad_release_of_argument(u64* args) {
    bpf_task_release(TASK);
    return 0;
}
SWITCH int ok_mask_of_task(u64* args) { return bpf_cpumask_test_cpu(1, TASK->cpus_ptr); }
SWITCH int ok_own_mask(u64* args) {
    struct bpf_cpumask* m = bpf_cpumask_create();
    if (!m) return 0;
    bpf_cpumask_copy(m, TASK->cpus_ptr);
    const u32 first = bpf_cpumask_first((struct cpumask*)m);
    bpf_cpumask_release(m);
    return first;
}
SWITCH int bad_moved_release(u64* args) {
    struct bpf_cpumask* m = bpf_cpumask_create();
    if (m) bpf_cpumask_release((struct bpf_cpumask*)((u8*)m + 8));
    return 0;
}
SWITCH int ok_cgroup_of_task(u64* args) {
    struct cgroup* g = bpf_cgroup_acquire(TASK->cgroups->dfl_cgrp);
    if (g) bpf_cgroup_release(g);
    return 0;
}
SWITCH int ok_tasks(u64* args) {
    struct bpf_iter_task it;
    struct task_struct* t;
    bpf_iter_task_new(&it, 0, 0);
    while ((t = bpf_iter_task_next(&it))) {
        t = bpf_task_acquire(t);
        if (t) bpf_task_release(t);
    }
    bpf_iter_task_destroy(&it);
    return 0;
}
SWITCH int ok_groups(u64* args) {
    struct bpf_iter_css it;
    struct cgroup_subsys_state* css;
    struct cgroup* g = bpf_cgroup_from_id(1);
    if (!g) return 0;
    bpf_iter_css_new(&it, &g->self, 0);
    while ((css = bpf_iter_css_next(&it))) OPAQUE(css->id);
    bpf_iter_css_destroy(&it);
    bpf_cgroup_release(g);
    return 0;
}
SEC("tp_btf/cgroup_mkdir") int ok_node(u64* args) { return ((struct cgroup*)args[0])->kn->id; }
SEC("iter.s/task") int ok_in_section(void* args) {
    struct task_struct* t = current_task();
    bpf_rcu_read_lock();
    t = bpf_task_acquire(t->real_parent);
    if (t) bpf_task_release(t);
    bpf_rcu_read_unlock();
    return 0;
}
SEC("iter.s/task") int bad_without_section(void* args) {
    struct task_struct* t = bpf_task_acquire(current_task()->real_parent);
    if (t) bpf_task_release(t);
    return 0;
}
SEC("iter.s/task") int bad_after_section(void* args) {
    struct task_struct* t = current_task();
    bpf_rcu_read_lock();
    t = t->real_parent;
    bpf_rcu_read_unlock();
    t = bpf_task_acquire(t);
    if (t) bpf_task_release(t);
    return 0;
}
SEC("iter.s/task") int ok_reads_after_section(void* args) {
    struct task_struct* t = current_task();
    bpf_rcu_read_lock();
    t = t->real_parent;
    bpf_rcu_read_unlock();
    return t->pid & 1;
}
SEC("iter/task") int ok_iterated_task(struct bpf_iter__task* args) {
    struct task_struct* t = args->task;
    if (!t) return 0;
    t = bpf_task_acquire(t);
    if (t) bpf_task_release(t);
    return 0;
}
SEC("iter/task") int bad_iterated_task_null(struct bpf_iter__task* args) {
    struct task_struct* t = bpf_task_acquire(args->task);
    if (t) bpf_task_release(t);
    return 0;
}
SEC("tc") int ok_kernel_context(void* s) {
    struct sk_buff* k = bpf_cast_to_kern_ctx(s);
    return k->dev->ifindex + k->len;
}
SEC("tc") int ok_cast(void* s) {
    struct sk_buff* k = bpf_cast_to_kern_ctx(s);
    struct skb_shared_info* info =
        bpf_rdonly_cast(k->head + k->end, __builtin_btf_type_id(*info, 1));
    return info->nr_frags;
}
SEC("tc") int bad_store_to_kernel_context(void* s) {
    struct sk_buff* k = bpf_cast_to_kern_ctx(s);
    k->mark = 1;
    return 0;
}
SEC("tp_btf/kfree_skb") int ok_dynptr_of_argument(u64* args) {
    struct bpf_dynptr d;
    return bpf_dynptr_from_skb((struct sk_buff*)args[0], 0, &d);
}
SEC("tp_btf/kfree_skb") int bad_dynptr_of_walked(u64* args) {
    struct bpf_dynptr d;
    return bpf_dynptr_from_skb(((struct sk_buff*)args[0])->next, 0, &d);
}
SEC("iter.s/task") int bad_buffer_too_small(void* args) {
    char buffer[16];
    return bpf_copy_from_user_str(buffer, 600, args, 0) & 1;
}
SWITCH int ok_cast_to_void(u64* args) { return ((int*)bpf_rdonly_cast(TASK, 0))[5]; }

// --- parameters of global functions
NOINLINE int takes_dynptr(const struct bpf_dynptr* d) { return bpf_dynptr_size(d); }
SEC("xdp") int ok_dynptr_parameter(struct xdp_md* x) {
    struct bpf_dynptr d;
    bpf_dynptr_from_xdp(x, 0, &d);
    return takes_dynptr(&d) & 1;
}
SEC("xdp") int bad_dynptr_parameter(struct xdp_md* x) {
    struct bpf_dynptr d;
    __asm__ volatile("" : "=m"(d));
    return takes_dynptr(&d) & 1;
}
NOINLINE int takes_trusted(struct task_struct* t TAG("trusted")) {
    struct task_struct* a = bpf_task_acquire(t);
    if (a) bpf_task_release(a);
    return t->pid;
}
SWITCH int ok_trusted_parameter(u64* args) { return takes_trusted(TASK); }
SWITCH int ok_trusted_parameter_walked(u64* args) { return takes_trusted(TASK->real_parent); }
SWITCH int bad_trusted_parameter_null(u64* args) { return takes_trusted(OPAQUE((void*)0)); }
NOINLINE int takes_maybe(struct task_struct* t TAG("trusted") TAG("nullable")) {
    return t ? t->pid : 0;
}
SWITCH int ok_nullable_parameter(u64* args) {
    return takes_maybe(OPAQUE((void*)0)) + takes_maybe(TASK);
}
NOINLINE int forgets_null(struct task_struct* t TAG("trusted") TAG("nullable")) { return t->pid; }
SWITCH int bad_nullable_parameter(u64* args) { return forgets_null(TASK); }
NOINLINE int takes_untrusted(struct task_struct* t TAG("untrusted")) { return t->pid; }
SWITCH int ok_untrusted_parameter(u64* args) {
    return takes_untrusted(OPAQUE((void*)0x1234)) + takes_untrusted(TASK);
}
NOINLINE int acquires_untrusted(struct task_struct* t TAG("untrusted")) {
    struct task_struct* a = bpf_task_acquire(t);
    if (a) bpf_task_release(a);
    return 0;
}
SWITCH int bad_untrusted_parameter(u64* args) { return acquires_untrusted(TASK); }
NOINLINE int takes_numbers(u64* t TAG("untrusted")) { return OPAQUE(t)[100]; }
SWITCH int ok_untrusted_numbers(u64* args) { return takes_numbers(OPAQUE((void*)0x1234)); }
NOINLINE int takes_context(void* c TAG("ctx")) { return ((struct xdp_md*)c)->ingress_ifindex & 1; }
SEC("xdp") int ok_context_parameter(struct xdp_md* x) { return takes_context(x); }
SEC("xdp") int bad_context_parameter(struct xdp_md* x) {
    int other = 0;
    return takes_context(&other);
}
NOINLINE int takes_nonnull(int* p TAG("nonnull")) { return *OPAQUE(p); }
SEC("xdp") int ok_nonnull_parameter(struct xdp_md* x) {
    int value = OPAQUE(1);
    return takes_nonnull(&value) & 1;
}
NOINLINE int nullable_alone(int* p TAG("nullable")) { return p ? *p : 0; }
SEC("xdp") int bad_nullable_alone(struct xdp_md* x) {
    int value = OPAQUE(1);
    return nullable_alone(&value) & 1;
}
NOINLINE int context_and_nonnull(struct xdp_md* p TAG("nonnull")) { return p->ingress_ifindex; }
SEC("xdp") int bad_tags(struct xdp_md* x) { return context_and_nonnull(x) & 1; }

// --- sections and global functions
NOINLINE int plain(int x) { return OPAQUE(x); }
NOINLINE int sleeps(int x) {
    char buffer[8];
    bpf_copy_from_user_str(buffer, 8, (void*)(long)OPAQUE(x), 0);
    return x;
}
SEC("xdp") int ok_global_in_preempt(void* x) {
    bpf_preempt_disable();
    plain(1);
    bpf_preempt_enable();
    return 1;
}
SEC("xdp") int ok_global_in_irq(void* x) {
    unsigned long flags;
    bpf_local_irq_save(&flags);
    plain(1);
    bpf_local_irq_restore(&flags);
    return 1;
}
SEC("syscall") int ok_global_sleeps(void* x) { return sleeps(1); }
SEC("syscall") int bad_global_sleeps_in_rcu(void* x) {
    bpf_rcu_read_lock();
    sleeps(1);
    bpf_rcu_read_unlock();
    return 1;
}
SEC("xdp") int bad_global_sleeps_in_xdp(void* x) { return sleeps(1) & 1; }

// --- exceptions
SEC("cgroup/sysctl") int ok_throw(void* x) {
    bpf_throw(1);
    return 1;
}
SEC("cgroup/sysctl") int bad_throw_range(void* x) {
    bpf_throw(7);
    return 1;
}
static NOINLINE void thrower(void) { bpf_throw(7); }
SEC("cgroup/sysctl") int bad_throw_range_below(void* x) {
    thrower();
    return 1;
}

// --- workqueues
struct element {
    int number;
    struct bpf_wq wq;
};
struct {
    UINT(type, MAP_ARRAY);
    TYPE(key, int);
    TYPE(value, struct element);
    UINT(max_entries, 1);
} elements SEC(".maps");
static int work_sleeps(void* map, int* key, void* value) {
    char buffer[8];
    copy_from_user(buffer, 8, (void*)1);
    return 0;
}
static int work_one(void* map, int* key, void* value) { return 1; }
static int work_again(void* map, int* key, void* value) {
    struct element* e = value;
    e->number = *key;
    bpf_wq_start(&e->wq, 0);
    return 0;
}
#define WORK(name, callback)                                  \
    SEC("tc") int name(void* s) {                             \
        int key = 0;                                          \
        struct element* e = map_lookup(&elements, &key);      \
        if (!e) return 0;                                     \
        bpf_wq_init(&e->wq, &elements, 0);                    \
        bpf_wq_set_callback_impl(&e->wq, callback, 0, 0);     \
        return bpf_wq_start(&e->wq, 0);                       \
    }
WORK(ok_work_sleeps, work_sleeps)
WORK(bad_work_result, work_one)
WORK(ok_work_again, work_again)

SEC("xdp") int ok_weak_and_missing(void* x) {
    return bpf_no_such_function ? bpf_no_such_function(1) : 2;
}

// Of a connection, programs on packets write the mark and nothing else.
struct nf_conn {
    u32 timeout, mark;
    unsigned long status;
} CORE;
struct nf_conn___init {
    u32 timeout, mark;
} CORE;
struct bpf_ct_opts {
    int netns_id, error;
    u8 l4proto, dir, reserved[2];
};
struct bpf_sock_tuple {
    u32 saddr, daddr;
    u16 sport, dport;
};
extern struct nf_conn* bpf_xdp_ct_lookup(struct xdp_md* x, struct bpf_sock_tuple* tuple, u32 tuple_size,
                                         struct bpf_ct_opts* opts, u32 opts_size) KSYM;
extern void bpf_ct_release(struct nf_conn* ct) KSYM;

#define CONNECTION(name, action)                                                   \
    SEC("xdp") int name(struct xdp_md* ctx) {                                      \
        struct bpf_sock_tuple tuple = {1, 2, 3, 4};                                \
        struct bpf_ct_opts opts = {-1, 0, 6, 0, {0, 0}};                           \
        struct nf_conn* ct = bpf_xdp_ct_lookup(ctx, &tuple, 12, &opts, sizeof opts); \
        if (ct) {                                                                  \
            action;                                                                \
            bpf_ct_release(ct);                                                    \
        }                                                                          \
        return 2;                                                                  \
    }
CONNECTION(ok_writes_the_mark, ct->mark = 7)
CONNECTION(bad_writes_the_status, ct->status = 7)
CONNECTION(bad_writes_behind_the_mark, *(u64*)&ct->mark = 7)
CONNECTION(bad_writes_the_timeout, ct->timeout = 7)
