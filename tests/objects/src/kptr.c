// kptr fields of map values.
#include "objects.h"

struct own { u64 a, b; };
struct task_struct { int none; } keep_the_type;  // a declaration alone is no type
struct value {
    u64 count;
    struct task_struct UNTRUSTED* loose;
    struct task_struct KPTR* task;
    struct own KPTR* own;
    struct own PERCPU* copies;
};
struct { NUMBER(type, 2); NUMBER(max_entries, 4); TYPE(key, u32); TYPE(value, struct value); }
    values SEC(".maps");
struct { NUMBER(type, 1); NUMBER(max_entries, 4); TYPE(key, u32); TYPE(value, struct value); }
    table SEC(".maps");

#define VALUE(map)                           \
    u32 k = 0;                               \
    struct value* v = map_lookup(&map, &k);  \
    if (!v) return 99

TC long load_v0(void* c) { VALUE(values); return v->task != 0; }
TC long store_loose_v0(void* c) { VALUE(values); v->loose = v->loose; return 0; }
TC long store_null_v0(void* c) { VALUE(values); *(volatile u64*)&v->loose = 0; return 0; }
TC long store_number_no(void* c) { VALUE(values); *(volatile u64*)&v->loose = v->count; return 0; }
TC long store_imm_no(void* c) { VALUE(values); *(volatile u64*)&v->loose = 5; return 0; }
TC long store_owned_no(void* c) { VALUE(values); *(volatile u64*)&v->task = 0; return 0; }
TC long load_half_no(void* c) { VALUE(values); return *(volatile u32*)&v->loose; }
TC long load_between_no(void* c) { VALUE(values); return *(volatile u64*)((char*)&v->loose + 4); }
TC long load_variable_no(void* c) {
    VALUE(values);
    return *(volatile u64*)((char*)v + 8 + (v->count & 3) * 8) != 0;
}
TC long helper_reads_no(void* c) { VALUE(values); u32 j = 1; return map_update(&values, &j, v, 0); }
TC long atomic_no(void* c) { VALUE(values); return __sync_fetch_and_add((u64*)&v->loose, 1); }
TC long other_field_no(void* c) { VALUE(values); return kptr_xchg(&v->count, NULL) != 0; }
TC long loose_xchg_no(void* c) { VALUE(values); return kptr_xchg(&v->loose, NULL) != 0; }
TC long leak_no(void* c) { VALUE(values); kptr_xchg(&v->own, NULL); return 0; }
TC long wrong_type_no(void* c) {
    VALUE(values);
    struct own* o = obj_new(struct own);
    if (!o) return 1;
    o = kptr_xchg(&v->task, o);
    return o != 0;
}
TC long use_after_xchg_no(void* c) {
    VALUE(values);
    struct own* o = obj_new(struct own);
    if (!o) return 1;
    struct own* before = kptr_xchg(&v->own, o);
    if (before) obj_drop(before);
    return o->a;
}
TC long keep_and_take_v7(void* c) {
    VALUE(values);
    struct own* o = obj_new(struct own);
    if (!o) return 1;
    o->a = 5;
    o = kptr_xchg(&v->own, o);
    if (o) obj_drop(o);
    o = v->own;
    if (!o) return 2;
    o->b = o->a + 2;
    o = kptr_xchg(&v->own, NULL);
    if (!o) return 3;
    long r = o->b;
    obj_drop(o);
    return r + (v->own != 0);
}
// What a deleted value owned is gone.
TC long deleted_v4(void* c) {
    struct value fresh = {};
    u32 k = 3;
    if (map_update(&table, &k, &fresh, 0)) return 90;
    struct value* v = map_lookup(&table, &k);
    struct own* o = obj_new(struct own);
    if (!o) return 1;
    if (!v) {
        obj_drop(o);
        return 2;
    }
    o = kptr_xchg(&v->own, o);
    if (o) obj_drop(o);
    long r = v->own ? 4 : 0;
    map_delete(&table, &k);
    map_update(&table, &k, &fresh, 0);
    v = map_lookup(&table, &k);
    if (!v) return 3;
    return v->own ? 5 : r;
}
// A value that is written over gives up what it owned.
TC long overwritten_v0(void* c) {
    VALUE(values);
    struct own* o = obj_new(struct own);
    if (!o) return 1;
    o = kptr_xchg(&v->own, o);
    if (o) obj_drop(o);
    struct value fresh = {};
    map_update(&values, &k, &fresh, 0);
    return v->own != 0;
}
TC long copies_v6(void* c) {
    VALUE(values);
    struct own* p = bpf_percpu_obj_new_impl(__builtin_btf_type_id(*(struct own*)0, 0), NULL);
    if (!p) return 1;
    p = kptr_xchg(&v->copies, p);
    if (p) bpf_percpu_obj_drop_impl(p, NULL);
    p = v->copies;
    if (!p) return 2;
    struct own* one = per_cpu_ptr(p, 0);
    struct own* two = per_cpu_ptr(p, 1);
    if (!one || !two) return 3;
    one->a = 2;
    two->a = 4;
    return one->a + two->a;
}
