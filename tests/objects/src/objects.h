// What the programs of this folder share: types and functions of Linux 6.18 by their prototypes.
// A program's name says what comes of it: NAME_vN is accepted and returns N, NAME_no is rejected.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;
struct __sk_buff {
    u32 len;
};
struct bpf_spin_lock {
    u32 val;
};
struct bpf_refcount {
    u32 a[1];
} __attribute__((aligned(4)));
struct bpf_list_head {
    u64 a[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
    u64 a[3];
} __attribute__((aligned(8)));
struct bpf_rb_root {
    u64 a[2];
} __attribute__((aligned(8)));
struct bpf_rb_node {
    u64 a[4];
} __attribute__((aligned(8)));

#define SEC(name) __attribute__((section(name), used))
#define TC SEC("tc")
#define NUMBER(name, value) int(*name)[value]
#define TYPE(name, type) typeof(type)* name
#define KSYM __attribute__((section(".ksyms")))
#define KPTR __attribute__((btf_type_tag("kptr")))
#define UNTRUSTED __attribute__((btf_type_tag("kptr_untrusted")))
#define PERCPU __attribute__((btf_type_tag("percpu_kptr")))
#define CONTAINS(type, node) __attribute__((btf_decl_tag("contains:" #type ":" #node)))
#define GLOBAL(name) SEC(".data." #name) __attribute__((aligned(8)))
#define NULL ((void*)0)
#define offset_of(type, member) __builtin_offsetof(type, member)
#define object_of(node, type, member) ((type*)((char*)(node) - offset_of(type, member)))

static void* (*map_lookup)(void* map, const void* key) = (void*)1;
static long (*map_update)(void* map, const void* key, const void* value, u64 flags) = (void*)2;
static long (*map_delete)(void* map, const void* key) = (void*)3;
static u32 (*prandom)(void) = (void*)7;
static void (*lock)(struct bpf_spin_lock* l) = (void*)93;
static void (*unlock)(struct bpf_spin_lock* l) = (void*)94;
static void* (*per_cpu_ptr)(const void* p, u32 cpu) = (void*)153;
static void* (*kptr_xchg)(void* slot, void* object) = (void*)194;

extern void* bpf_obj_new_impl(u64 id, void* meta) KSYM;
extern void bpf_obj_drop_impl(void* p, void* meta) KSYM;
extern void* bpf_percpu_obj_new_impl(u64 id, void* meta) KSYM;
extern void bpf_percpu_obj_drop_impl(void* p, void* meta) KSYM;
extern void* bpf_refcount_acquire_impl(void* p, void* meta) KSYM;
extern int bpf_list_push_front_impl(struct bpf_list_head* h, struct bpf_list_node* n, void* meta,
                                    u64 off) KSYM;
extern int bpf_list_push_back_impl(struct bpf_list_head* h, struct bpf_list_node* n, void* meta,
                                   u64 off) KSYM;
extern struct bpf_list_node* bpf_list_pop_front(struct bpf_list_head* h) KSYM;
extern struct bpf_list_node* bpf_list_pop_back(struct bpf_list_head* h) KSYM;
extern struct bpf_list_node* bpf_list_front(struct bpf_list_head* h) KSYM;
extern struct bpf_list_node* bpf_list_back(struct bpf_list_head* h) KSYM;
extern int bpf_rbtree_add_impl(struct bpf_rb_root* r, struct bpf_rb_node* n,
                               bool(less)(struct bpf_rb_node*, const struct bpf_rb_node*),
                               void* meta, u64 off) KSYM;
extern struct bpf_rb_node* bpf_rbtree_remove(struct bpf_rb_root* r, struct bpf_rb_node* n) KSYM;
extern struct bpf_rb_node* bpf_rbtree_first(struct bpf_rb_root* r) KSYM;
extern struct bpf_rb_node* bpf_rbtree_root(struct bpf_rb_root* r) KSYM;
extern struct bpf_rb_node* bpf_rbtree_left(struct bpf_rb_root* r, struct bpf_rb_node* n) KSYM;
extern struct bpf_rb_node* bpf_rbtree_right(struct bpf_rb_root* r, struct bpf_rb_node* n) KSYM;

#define obj_new(type) ((type*)bpf_obj_new_impl(__builtin_btf_type_id(*(type*)0, 0), NULL))
#define obj_drop(p) bpf_obj_drop_impl(p, NULL)
#define acquire(p) bpf_refcount_acquire_impl(p, NULL)
#define push_front(h, n) bpf_list_push_front_impl(h, n, NULL, 0)
#define push_back(h, n) bpf_list_push_back_impl(h, n, NULL, 0)
#define tree_add(r, n, less) bpf_rbtree_add_impl(r, n, less, NULL, 0)

char kLicense[] SEC("license") = "GPL";
