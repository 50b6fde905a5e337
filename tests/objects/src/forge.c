// A hostile program, for the sandbox: it overwrites fields that only functions may touch, passes
// anything to them, and keeps what it gets wherever it likes.
#include "objects.h"

struct thing {
    u64 key;
    struct bpf_refcount ref;
    struct bpf_rb_node rb;
    struct bpf_list_node ln;
    struct thing KPTR* inner;
};
struct value {
    u64 any[4];
    struct bpf_spin_lock lock;
    u32 pad;
    struct bpf_list_head head CONTAINS(thing, ln);
    struct bpf_rb_root root CONTAINS(thing, rb);
    struct thing KPTR* held;
    u64 kept[8];
};
struct { NUMBER(type, 1); NUMBER(max_entries, 4); TYPE(key, u32); TYPE(value, struct value); }
    table SEC(".maps");

static bool less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
    if ((prandom() & 63) == 0) *(volatile u64*)a = prandom();
    return prandom() & 1;
}

TC long forge(void* c) {
    struct value fresh = {};
    u32 k = prandom() & 3;
    map_update(&table, &k, &fresh, 0);
    struct value* v = map_lookup(&table, &k);
    if (!v) return 1;
    for (int i = 0; i < 48; i++) {
        const u32 what = prandom() & 15, at = prandom() & 7;
        void* kept = (void*)v->kept[at];
        void* result = kept;
        switch (what) {
            case 0:
            case 1:
            case 2: result = obj_new(struct thing); break;
            case 3: if ((prandom() & 3) == 0) obj_drop(kept); break;
            case 4: push_front(&v->head, (void*)((char*)kept + offset_of(struct thing, ln))); break;
            case 5: push_back(&v->head, (void*)((char*)kept + offset_of(struct thing, ln))); break;
            case 6: result = bpf_list_pop_front(&v->head); break;
            case 7: tree_add(&v->root, (void*)((char*)kept + offset_of(struct thing, rb)), less); break;
            case 8: result = bpf_rbtree_first(&v->root); break;
            case 9: result = bpf_rbtree_remove(&v->root, kept); break;
            case 10: result = kptr_xchg(&v->held, kept); break;
            case 11: if (kept) result = kptr_xchg((char*)kept + offset_of(struct thing, inner), NULL); break;
            case 12: result = acquire(kept); break;
            case 13: ((volatile u64*)v)[prandom() % (sizeof(*v) / 8)] = prandom(); break;
            case 14: if (kept) ((volatile u64*)kept)[prandom() & 15] = ((u64)8 << 32) + (prandom() & 4095) * 8; break;
            case 15:
                if ((prandom() & 7) == 0) { map_delete(&table, &k); return 2; }
                if ((prandom() & 7) == 0) { lock(kept); if (prandom() & 1) unlock(kept); }
                break;
        }
        v->kept[at] = (u64)result;
    }
    return 0;
}
