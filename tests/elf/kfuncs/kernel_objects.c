// Kernel functions on objects of the kernel's: tests/elf/kernel_object_run_test runs every program
// whose name begins with "run_"; it returns 1 if all is as it should be, else the line that is not.
#include "kernel.h"

#define CHECK(condition) \
    if (!(condition)) return __LINE__
#define KPTR __attribute__((btf_type_tag("kptr")))

struct __sk_buff {
    u32 len, pkt_type, mark, queue_mapping, protocol;
};
struct cpumask {
    unsigned long bits[1];
} CORE;
struct bpf_cpumask {
    struct cpumask cpumask;
} CORE;
struct cgroup;
struct cgroup_subsys_state {
    struct cgroup* cgroup;
} CORE;
struct cgroup {
    struct cgroup_subsys_state self;
    struct kernfs_node* kn;
    int level;
} CORE;
struct task_struct {
    int pid, tgid;
    const struct cpumask* cpus_ptr;
    struct css_set* cgroups;
} CORE;
struct xdp_rxq_info {
    struct net_device* dev;
    u32 queue_index;
} CORE;
struct xdp_buff {
    void *data, *data_end;
    struct xdp_rxq_info* rxq;
} CORE;
struct sk_buff {
    unsigned int len, mark;
    struct net_device* dev;
} CORE;
struct nf_conn {
    unsigned long status;
    unsigned int timeout, mark;
} CORE;
struct nf_conn___init {
    struct nf_conn ct;
} CORE;
struct bpf_map {
    u32 map_type, key_size, value_size, max_entries;
} CORE;

struct bpf_sock_tuple {
    u32 saddr, daddr;
    unsigned short sport, dport;
};
struct bpf_ct_opts {
    int netns_id, error;
    u8 l4proto, dir;
    unsigned short zone;
    u8 zone_dir, reserved[3];
};
union nf_inet_addr {
    u32 all[4];
};

HELPER(1, void*, lookup, void* map, const void* key);
HELPER(2, long, update, void* map, const void* key, const void* value, u64 flags);
HELPER(158, struct task_struct*, current_task, void);
HELPER(194, void*, xchg, void* slot, void* value);

extern struct bpf_cpumask* bpf_cpumask_create(void) KSYM;
extern struct bpf_cpumask* bpf_cpumask_acquire(struct bpf_cpumask*) KSYM;
extern void bpf_cpumask_release(struct bpf_cpumask*) KSYM;
extern u32 bpf_cpumask_first(const struct cpumask*) KSYM;
extern u32 bpf_cpumask_first_zero(const struct cpumask*) KSYM;
extern void bpf_cpumask_set_cpu(u32 cpu, struct bpf_cpumask*) KSYM;
extern void bpf_cpumask_clear_cpu(u32 cpu, struct bpf_cpumask*) KSYM;
extern _Bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask*) KSYM;
extern _Bool bpf_cpumask_test_and_set_cpu(u32 cpu, struct bpf_cpumask*) KSYM;
extern _Bool bpf_cpumask_test_and_clear_cpu(u32 cpu, struct bpf_cpumask*) KSYM;
extern void bpf_cpumask_setall(struct bpf_cpumask*) KSYM;
extern void bpf_cpumask_clear(struct bpf_cpumask*) KSYM;
extern _Bool bpf_cpumask_and(struct bpf_cpumask*, const struct cpumask*, const struct cpumask*) KSYM;
extern void bpf_cpumask_or(struct bpf_cpumask*, const struct cpumask*, const struct cpumask*) KSYM;
extern void bpf_cpumask_xor(struct bpf_cpumask*, const struct cpumask*, const struct cpumask*) KSYM;
extern _Bool bpf_cpumask_equal(const struct cpumask*, const struct cpumask*) KSYM;
extern _Bool bpf_cpumask_subset(const struct cpumask*, const struct cpumask*) KSYM;
extern _Bool bpf_cpumask_intersects(const struct cpumask*, const struct cpumask*) KSYM;
extern _Bool bpf_cpumask_empty(const struct cpumask*) KSYM;
extern _Bool bpf_cpumask_full(const struct cpumask*) KSYM;
extern void bpf_cpumask_copy(struct bpf_cpumask*, const struct cpumask*) KSYM;
extern u32 bpf_cpumask_weight(const struct cpumask*) KSYM;
extern int bpf_cpumask_populate(struct cpumask*, void* from, unsigned long size) KSYM;
extern struct task_struct* bpf_task_from_pid(int pid) KSYM;
extern struct task_struct* bpf_task_acquire(struct task_struct*) KSYM;
extern void bpf_task_release(struct task_struct*) KSYM;
extern long bpf_task_under_cgroup(struct task_struct*, struct cgroup*) KSYM;
extern struct cgroup* bpf_cgroup_from_id(u64 id) KSYM;
extern struct cgroup* bpf_cgroup_ancestor(struct cgroup*, int level) KSYM;
extern void bpf_cgroup_release(struct cgroup*) KSYM;
extern int bpf_iter_task_new(struct bpf_iter_task*, struct task_struct*, unsigned int) KSYM;
extern struct task_struct* bpf_iter_task_next(struct bpf_iter_task*) KSYM;
extern void bpf_iter_task_destroy(struct bpf_iter_task*) KSYM;
extern int bpf_iter_css_new(struct bpf_iter_css*, struct cgroup_subsys_state*, unsigned int) KSYM;
extern struct cgroup_subsys_state* bpf_iter_css_next(struct bpf_iter_css*) KSYM;
extern void bpf_iter_css_destroy(struct bpf_iter_css*) KSYM;
extern void bpf_rcu_read_lock(void) KSYM;
extern void bpf_rcu_read_unlock(void) KSYM;
extern long bpf_map_sum_elem_count(const struct bpf_map*) KSYM;
extern void* bpf_cast_to_kern_ctx(void*) KSYM;
extern struct nf_conn* bpf_xdp_ct_lookup(struct xdp_md*, struct bpf_sock_tuple*, u32,
                                         struct bpf_ct_opts*, u32) KSYM;
extern struct nf_conn___init* bpf_xdp_ct_alloc(struct xdp_md*, struct bpf_sock_tuple*, u32,
                                               struct bpf_ct_opts*, u32) KSYM;
extern struct nf_conn* bpf_ct_insert_entry(struct nf_conn___init*) KSYM;
extern void bpf_ct_release(struct nf_conn*) KSYM;
extern void bpf_ct_set_timeout(struct nf_conn___init*, u32) KSYM;
extern int bpf_ct_change_timeout(struct nf_conn*, u32) KSYM;
extern int bpf_ct_set_status(const struct nf_conn___init*, u32) KSYM;

char _license[] SEC("license") = "GPL";

// What loops count, where no state of theirs tells rounds apart.
int processes, threads, states;

struct kept_value {
    struct bpf_cpumask KPTR* mask;
    struct task_struct KPTR* task;
};
struct {
    int (*type)[2];
    u32* key;
    struct kept_value* value;
    int (*max_entries)[1];
} kept SEC(".maps");
struct {
    int (*type)[1];
    u32* key;
    u32* value;
    int (*max_entries)[16];
} numbers SEC(".maps");

static long mask_fails(struct bpf_cpumask* a, struct bpf_cpumask* b) {
    const struct cpumask *x = (const struct cpumask*)a, *y = (const struct cpumask*)b;
    unsigned long words[32] = {0x5};
    CHECK(bpf_cpumask_empty(x));
    CHECK(bpf_cpumask_first(x) >= 8);
    bpf_cpumask_set_cpu(1, a);
    bpf_cpumask_set_cpu(3, a);
    bpf_cpumask_set_cpu(1000000, a);
    CHECK(bpf_cpumask_first(x) == 1);
    CHECK(bpf_cpumask_first_zero(x) == 0);
    CHECK(bpf_cpumask_weight(x) == 2);
    CHECK(bpf_cpumask_test_cpu(3, x) && !bpf_cpumask_test_cpu(2, x));
    CHECK(a->cpumask.bits[0] == 0xa);
    CHECK(!bpf_cpumask_test_and_set_cpu(0, a) && bpf_cpumask_test_and_set_cpu(0, a));
    CHECK(bpf_cpumask_test_and_clear_cpu(0, a) && !bpf_cpumask_test_and_clear_cpu(0, a));
    bpf_cpumask_setall(b);
    CHECK(bpf_cpumask_full(y) && !bpf_cpumask_full(x));
    CHECK(bpf_cpumask_subset(x, y) && !bpf_cpumask_subset(y, x));
    CHECK(bpf_cpumask_intersects(x, y));
    CHECK(bpf_cpumask_and(b, x, y));
    CHECK(bpf_cpumask_equal(x, y));
    bpf_cpumask_clear_cpu(3, b);
    bpf_cpumask_xor(b, x, y);
    CHECK(bpf_cpumask_first(y) == 3);
    bpf_cpumask_clear(b);
    CHECK(!bpf_cpumask_and(b, x, y));
    bpf_cpumask_or(b, x, y);
    CHECK(bpf_cpumask_equal(x, y));
    bpf_rcu_read_lock();
    bpf_cpumask_copy(b, current_task()->cpus_ptr);
    bpf_rcu_read_unlock();
    CHECK(bpf_cpumask_full(y));
    CHECK(bpf_cpumask_populate((struct cpumask*)a, words, 1) == -13);
    CHECK(bpf_cpumask_populate((struct cpumask*)a, words, sizeof words) == 0);
    CHECK(a->cpumask.bits[0] == 5);
    return 1;
}

SEC("syscall") long run_cpumask(void* ctx) {
    struct bpf_cpumask* a = bpf_cpumask_create();
    if (!a) return __LINE__;
    struct bpf_cpumask* b = bpf_cpumask_create();
    long result = __LINE__;
    if (b) {
        result = mask_fails(a, b);
        bpf_cpumask_release(b);
    }
    bpf_cpumask_release(a);
    return result;
}

SEC("syscall") long run_kept(void* ctx) {
    u32 key = 0;
    struct kept_value* v = lookup(&kept, &key);
    if (!v) return __LINE__;
    struct bpf_cpumask* mask = bpf_cpumask_create();
    if (!mask) return __LINE__;
    bpf_cpumask_set_cpu(2, mask);
    struct bpf_cpumask* old = xchg(&v->mask, mask);
    if (old) {
        bpf_cpumask_release(old);
        return __LINE__;
    }
    old = xchg(&v->mask, 0);
    if (!old) return __LINE__;
    u32 first = bpf_cpumask_first((struct cpumask*)old);
    bpf_cpumask_release(old);
    CHECK(first == 2);
    struct task_struct* task = bpf_task_acquire(current_task());
    if (!task) return __LINE__;
    struct task_struct* before = xchg(&v->task, task);
    if (before) {
        bpf_task_release(before);
        return __LINE__;
    }
    bpf_rcu_read_lock();
    struct task_struct* seen = v->task;
    int pid = seen ? seen->pid : 0;
    bpf_rcu_read_unlock();
    CHECK(pid == 77);
    before = xchg(&v->task, 0);
    if (!before) return __LINE__;
    pid = before->tgid;
    bpf_task_release(before);
    CHECK(pid == 70);
    return 1;
}

// What a program leaves in a map is there for the next run, and given up with the map.
SEC("syscall") long run_left(void* ctx) {
    u32 key = 0;
    struct kept_value* v = lookup(&kept, &key);
    if (!v) return __LINE__;
    struct bpf_cpumask* mask = bpf_cpumask_create();
    if (!mask) return __LINE__;
    mask = xchg(&v->mask, mask);
    if (mask) bpf_cpumask_release(mask);
    return 1;
}

SEC("syscall") long run_tasks(void* ctx) {
    struct task_struct* task = bpf_task_from_pid(77);
    if (!task) return __LINE__;
    int pid = task->pid;
    bpf_task_release(task);
    CHECK(pid == 77);
    task = bpf_task_from_pid(70);
    if (!task) return __LINE__;
    bpf_task_release(task);
    task = bpf_task_from_pid(12345);
    if (task) {
        bpf_task_release(task);
        return __LINE__;
    }
    struct bpf_iter_task it;
    processes = threads = 0;
    bpf_rcu_read_lock();
    bpf_iter_task_new(&it, 0, 0);
    while (bpf_iter_task_next(&it)) ++processes;
    bpf_iter_task_destroy(&it);
    bpf_iter_task_new(&it, 0, 1);
    while (bpf_iter_task_next(&it)) ++threads;
    bpf_iter_task_destroy(&it);
    bpf_rcu_read_unlock();
    CHECK(processes == 2);
    CHECK(threads == 3);
    return 1;
}

SEC("syscall") long run_cgroups(void* ctx) {
    struct task_struct* task = current_task();
    struct cgroup* own = bpf_cgroup_from_id(9);
    if (!own) return __LINE__;
    u64 id = own->kn->id;
    int level = own->level;
    long under = bpf_task_under_cgroup(task, own);
    struct cgroup* root = bpf_cgroup_ancestor(own, 0);
    struct cgroup* deeper = bpf_cgroup_ancestor(own, 2);
    bpf_cgroup_release(own);
    if (deeper) bpf_cgroup_release(deeper);
    if (!root) return __LINE__;
    u64 root_id = root->kn->id;
    struct bpf_iter_css it;
    states = 0;
    bpf_rcu_read_lock();
    bpf_iter_css_new(&it, &root->self, 2);
    while (bpf_iter_css_next(&it)) ++states;
    bpf_iter_css_destroy(&it);
    bpf_rcu_read_unlock();
    bpf_cgroup_release(root);
    CHECK(!deeper);
    CHECK(id == 9 && root_id == 1 && level == 1 && under == 1);
    CHECK(states == 2);
    return 1;
}

// Work runs after its run: the second run finds what the first one asked for.
struct bpf_wq {
    u64 opaque[2];
} __attribute__((aligned(8)));
struct work {
    u64 done;
    struct bpf_wq wq;
};
struct {
    int (*type)[2];
    u32* key;
    struct work* value;
    int (*max_entries)[1];
} works SEC(".maps");
extern int bpf_wq_init(struct bpf_wq*, void* map, unsigned int flags) KSYM;
extern int bpf_wq_set_callback_impl(struct bpf_wq*, int (*callback)(void*, int*, void*),
                                    unsigned int flags, void* aux) KSYM;
extern int bpf_wq_start(struct bpf_wq*, unsigned int flags) KSYM;

static int finish(void* map, int* key, void* value) {
    ((struct work*)value)->done += 1;
    return 0;
}

SEC("syscall") long run_work(void* ctx) {
    u32 key = 0;
    struct work* w = lookup(&works, &key);
    if (!w) return __LINE__;
    if (bpf_wq_init(&w->wq, &works, 0) != 0) return w->done == 1 ? 1 : __LINE__;
    CHECK(bpf_wq_start(&w->wq, 0) == -22);
    CHECK(bpf_wq_set_callback_impl(&w->wq, finish, 0, 0) == 0);
    CHECK(bpf_wq_start(&w->wq, 0) == 0);
    CHECK(w->done == 0);
    return 1;
}

SEC("syscall") long run_counts(void* ctx) {
    for (u32 i = 0; i < 5; ++i) {
        u32 key = i;
        update(&numbers, &key, &key, 0);
    }
    CHECK(bpf_map_sum_elem_count((struct bpf_map*)&numbers) == 5);
    CHECK(((struct bpf_map*)&numbers)->max_entries == 16);
    CHECK(((struct bpf_map*)&kept)->max_entries == 1);
    return 1;
}

SEC("xdp") int run_cast(struct xdp_md* x) {
    struct xdp_buff* buffer = bpf_cast_to_kern_ctx(x);
    CHECK(buffer->rxq->queue_index == 3);
    CHECK(buffer->rxq->dev->ifindex == 5);
    CHECK(buffer->data_end - buffer->data == 64);
    return 1;
}

SEC("tc") int run_cast_skb(struct __sk_buff* skb) {
    struct sk_buff* buffer = bpf_cast_to_kern_ctx(skb);
    CHECK(buffer->len == skb->len);
    CHECK(buffer->mark == 21);
    CHECK(buffer->dev->ifindex == 5);
    return 1;
}

struct sock_common {
    unsigned short skc_family;
    u64 skc_cookie;
} CORE;
struct sock {
    struct sock_common __sk_common;
    unsigned short sk_protocol;
} CORE;
struct inet_sock {
    struct sock sk;
} CORE;
struct inet_connection_sock {
    struct inet_sock icsk_inet;
} CORE;
struct tcp_sock {
    struct inet_connection_sock inet_conn;
    u32 snd_cwnd;
} CORE;
HELPER(137, struct tcp_sock*, to_tcp_sock, void* sk);
HELPER(140, struct sock*, to_udp6_sock, void* sk);

SEC("tc") int run_socket(struct __sk_buff* skb) {
    void* sk = *(void**)((char*)skb + 168);
    if (!sk) return __LINE__;
    struct tcp_sock* tcp = to_tcp_sock(sk);
    if (!tcp) return __LINE__;
    CHECK(tcp->snd_cwnd == 33);
    CHECK(tcp->inet_conn.icsk_inet.sk.sk_protocol == 6);
    CHECK(tcp->inet_conn.icsk_inet.sk.__sk_common.skc_family == 2);
    CHECK(!to_udp6_sock(sk));
    return 1;
}

SEC("xdp") int run_connections(struct xdp_md* x) {
    struct bpf_sock_tuple tuple = {0x0100000a, 0x0200000a, 0x5000, 0x9000}, back = tuple;
    struct bpf_ct_opts opts = {.netns_id = -1, .l4proto = 17};
    struct nf_conn* ct = bpf_xdp_ct_lookup(x, &tuple, 12, &opts, sizeof opts);
    if (ct) {
        bpf_ct_release(ct);
        return 1;  // an earlier run of the same Vm left it
    }
    CHECK(opts.error == -2);
    opts.l4proto = 1;
    ct = bpf_xdp_ct_lookup(x, &tuple, 12, &opts, sizeof opts);
    if (ct) {
        bpf_ct_release(ct);
        return __LINE__;
    }
    CHECK(opts.error == -71);
    opts.l4proto = 17;
    struct nf_conn___init* made = bpf_xdp_ct_alloc(x, &tuple, 12, &opts, sizeof opts);
    if (!made) return __LINE__;
    bpf_ct_set_timeout(made, 10000);
    bpf_ct_set_status(made, 4);
    ct = bpf_ct_insert_entry(made);
    if (!ct) return __LINE__;
    unsigned long status = ct->status;
    ct->mark = 77;
    bpf_ct_release(ct);
    CHECK(status == 12);
    back.saddr = tuple.daddr;
    back.daddr = tuple.saddr;
    back.sport = tuple.dport;
    back.dport = tuple.sport;
    ct = bpf_xdp_ct_lookup(x, &back, 12, &opts, sizeof opts);
    if (!ct) return __LINE__;
    unsigned int mark = ct->mark;
    bpf_ct_change_timeout(ct, 0);
    bpf_ct_release(ct);
    CHECK(mark == 77);
    CHECK(opts.dir == 1);
    ct = bpf_xdp_ct_lookup(x, &tuple, 12, &opts, sizeof opts);
    if (ct) {
        bpf_ct_release(ct);
        return __LINE__;
    }
    return 1;
}
