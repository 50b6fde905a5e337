// Lists and trees of allocated objects.
#include "objects.h"

struct item { u64 key; struct bpf_rb_node rb; u64 data; };
struct link { u64 key; struct bpf_list_node ln; u64 data; };
struct both { u64 key; struct bpf_refcount ref; struct bpf_rb_node rb; struct bpf_list_node ln; };
struct plain { u64 a; u32 b; };
struct owner { struct bpf_spin_lock lock; struct bpf_list_head head CONTAINS(link, ln); u64 x; };

GLOBAL(A) struct bpf_spin_lock lockA;
GLOBAL(A) struct bpf_rb_root rootA CONTAINS(item, rb);
GLOBAL(B) struct bpf_spin_lock lockB;
GLOBAL(B) struct bpf_list_head headB CONTAINS(link, ln);
GLOBAL(C) struct bpf_spin_lock lockC;
GLOBAL(C) struct bpf_rb_root rootC CONTAINS(both, rb);
GLOBAL(C) struct bpf_list_head headC CONTAINS(both, ln);

#define KEY(n, type, member) (object_of(n, type, member)->key)
static bool less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
    return KEY(a, struct item, rb) < KEY(b, struct item, rb);
}
static bool less_both(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
    return KEY(a, struct both, rb) < KEY(b, struct both, rb);
}
static long add(u64 key) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    n->key = key;
    n->data = key * 2;
    lock(&lockA);
    tree_add(&rootA, &n->rb, less);
    unlock(&lockA);
    return 0;
}

TC long tree_first_v12(void* c) {
    add(5), add(3), add(9), add(1);
    lock(&lockA);
    struct bpf_rb_node* r = bpf_rbtree_first(&rootA);
    if (!r) {
        unlock(&lockA);
        return 100;
    }
    struct item* n = object_of(r, struct item, rb);
    long k = n->key;
    r = bpf_rbtree_remove(&rootA, &n->rb);
    unlock(&lockA);
    if (!r) return 101;
    n = object_of(r, struct item, rb);
    k = k * 10 + n->data;
    obj_drop(n);
    return k;
}
TC long tree_shape_v50309(void* c) {
    add(5), add(3), add(9), add(1), add(4), add(7);
    lock(&lockA);
    long v = 0;
    struct bpf_rb_node *r = bpf_rbtree_root(&rootA), *s;
    if (r) {
        v = KEY(r, struct item, rb);
        s = bpf_rbtree_left(&rootA, r);
        if (s) v = v * 100 + KEY(s, struct item, rb);
        s = bpf_rbtree_right(&rootA, r);
        if (s) v = v * 100 + KEY(s, struct item, rb);
    }
    unlock(&lockA);
    return v;
}
TC long tree_after_unlock_no(void* c) {
    lock(&lockA);
    struct bpf_rb_node* r = bpf_rbtree_first(&rootA);
    unlock(&lockA);
    return r ? KEY(r, struct item, rb) : 0;
}
TC long tree_without_lock_no(void* c) { return bpf_rbtree_first(&rootA) != 0; }
TC long tree_other_lock_no(void* c) {
    lock(&lockB);
    struct bpf_rb_node* r = bpf_rbtree_first(&rootA);
    unlock(&lockB);
    return r != 0;
}
TC long leak_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    n->key = 1;
    return 0;
}
TC long drop_twice_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    obj_drop(n);
    obj_drop(n);
    return 0;
}
TC long use_after_add_v0(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    n->key = 4;
    lock(&lockA);
    tree_add(&rootA, &n->rb, less);
    n->data = 7;
    unlock(&lockA);
    return 0;
}
TC long use_after_unlock_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    lock(&lockA);
    tree_add(&rootA, &n->rb, less);
    unlock(&lockA);
    n->data = 7;
    return 0;
}
TC long add_twice_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    lock(&lockA);
    tree_add(&rootA, &n->rb, less);
    tree_add(&rootA, &n->rb, less);
    unlock(&lockA);
    return 0;
}
TC long node_write_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    *(volatile u64*)&n->rb = 1;
    obj_drop(n);
    return 0;
}
TC long beyond_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    ((volatile u64*)n)[12] = 1;
    obj_drop(n);
    return 0;
}
static bool less_removes(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
    bpf_rbtree_remove(&rootA, a);
    return 0;
}
TC long remove_in_callback_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    lock(&lockA);
    tree_add(&rootA, &n->rb, less_removes);
    unlock(&lockA);
    return 0;
}
TC long list_order_v1029(void* c) {
    for (int i = 0; i < 3; i++) {
        struct link* n = obj_new(struct link);
        if (!n) return 1;
        n->key = i;
        lock(&lockB);
        if (i & 1)
            push_front(&headB, &n->ln);
        else
            push_back(&headB, &n->ln);
        unlock(&lockB);
    }
    long v = 0;
    for (int i = 0; i < 4; i++) {
        lock(&lockB);
        struct bpf_list_node* l = bpf_list_pop_front(&headB);
        unlock(&lockB);
        if (!l) {
            v = v * 10 + 9;
            continue;
        }
        struct link* n = object_of(l, struct link, ln);
        v = v * 10 + n->key;
        obj_drop(n);
    }
    return v;
}
TC long list_ends_v205(void* c) {
    for (int i = 0; i < 3; i++) {
        struct link* n = obj_new(struct link);
        if (!n) return 1;
        n->key = i + 3;
        lock(&lockB);
        push_front(&headB, &n->ln);
        unlock(&lockB);
    }
    lock(&lockB);
    long v = 0;
    struct bpf_list_node* l = bpf_list_front(&headB);
    if (l) v = KEY(l, struct link, ln) * 40;
    l = bpf_list_back(&headB);
    if (l) v += KEY(l, struct link, ln);
    l = bpf_list_pop_back(&headB);
    unlock(&lockB);
    if (!l) return 7;
    struct link* n = object_of(l, struct link, ln);
    v += n->key - 1;
    obj_drop(n);
    return v;
}
TC long pop_leak_no(void* c) {
    lock(&lockB);
    bpf_list_pop_front(&headB);
    unlock(&lockB);
    return 0;
}
TC long other_node_no(void* c) {
    struct item* n = obj_new(struct item);
    if (!n) return 1;
    lock(&lockB);
    push_front(&headB, (void*)&n->rb);
    unlock(&lockB);
    return 0;
}
TC long head_read_no(void* c) { return *(volatile u64*)&headB; }
TC long list_in_object_v0(void* c) {
    struct owner* o = obj_new(struct owner);
    if (!o) return 1;
    struct link* n = obj_new(struct link);
    if (!n) {
        obj_drop(o);
        return 2;
    }
    lock(&o->lock);
    push_back(&o->head, &n->ln);
    unlock(&o->lock);
    obj_drop(o);
    return 0;
}
TC long other_objects_lock_no(void* c) {
    struct owner* o = obj_new(struct owner);
    if (!o) return 1;
    struct owner* p = obj_new(struct owner);
    if (!p) {
        obj_drop(o);
        return 2;
    }
    lock(&p->lock);
    long v = bpf_list_front(&o->head) != 0;
    unlock(&p->lock);
    obj_drop(o);
    obj_drop(p);
    return v;
}
TC long counted_v3(void* c) {
    struct both* n = obj_new(struct both);
    if (!n) return 1;
    struct both* m = acquire(n);
    n->key = 3;
    lock(&lockC);
    tree_add(&rootC, &n->rb, less_both);
    push_front(&headC, &m->ln);
    struct bpf_rb_node* r = bpf_rbtree_first(&rootC);
    long v = r ? KEY(r, struct both, rb) : 9;
    unlock(&lockC);
    return v;
}
TC long counted_on_loan_v0(void* c) {
    struct both* n = obj_new(struct both);
    if (!n) return 1;
    lock(&lockC);
    tree_add(&rootC, &n->rb, less_both);
    struct both* m = acquire(n);
    unlock(&lockC);
    if (!m) return 2;
    obj_drop(m);
    return 0;
}
TC long not_counted_no(void* c) {
    struct plain* n = obj_new(struct plain);
    if (!n) return 1;
    struct plain* m = acquire(n);
    obj_drop(n);
    if (m) obj_drop(m);
    return 0;
}
TC long plain_v42(void* c) {
    struct plain* n = obj_new(struct plain);
    if (!n) return 1;
    n->a = 40;
    n->b = 2;
    long r = n->a + n->b;
    obj_drop(n);
    return r;
}
TC long may_be_null_no(void* c) {
    struct plain* n = obj_new(struct plain);
    n->a = 1;
    obj_drop(n);
    return 0;
}
TC long across_members_no(void* c) {
    struct plain* n = obj_new(struct plain);
    if (!n) return 1;
    *(volatile u64*)((char*)n + 4) = 1;
    obj_drop(n);
    return 0;
}
