// Arenas. As everywhere in this folder, results are Linux 6.18's.
#include "objects.h"

#define ARENA __attribute__((address_space(1)))
struct { NUMBER(type, 33); NUMBER(map_flags, 1024); NUMBER(max_entries, 16); } arena SEC(".maps");
extern void ARENA* bpf_arena_alloc_pages(void* map, void ARENA* addr, u32 pages, int node,
                                         u64 flags) KSYM;
extern void bpf_arena_free_pages(void* map, void ARENA* p, u32 pages) KSYM;
#define pages(n) bpf_arena_alloc_pages(&arena, NULL, n, -1, 0)
#define SLEEPS SEC("syscall")

SLEEPS long use_proven_v42(void* c) {
    volatile int ARENA* p = pages(1);
    if (!p) return 1;
    *p = 7;
    if (*p != 7) return 2;
    bpf_arena_free_pages(&arena, (void ARENA*)p, 1);
    *p = 8;
    return *p != 0 ? 3 : 42;
}
SLEEPS long neighbours_v4096(void* c) {
    char ARENA* p = pages(1);
    char ARENA* q = pages(1);
    return (u64)q - (u64)p;
}
SLEEPS long too_many_v0(void* c) { return pages(17) != NULL; }
SLEEPS long atomics_v11(void* c) {
    u64 ARENA* p = pages(1);
    if (!p) return 1;
    __sync_fetch_and_add(p, 5);
    u64 before = __sync_fetch_and_add(p, 1);
    return before + *p;
}
SLEEPS long exchanges_v9(void* c) {
    u64 ARENA* p = pages(1);
    if (!p) return 1;
    *p = 4;
    u64 a = __sync_val_compare_and_swap(p, 4, 5), b = __sync_val_compare_and_swap(p, 4, 6);
    return a + b;
}
SLEEPS long signed_v253(void* c) {
    volatile signed char ARENA* p = pages(1);
    if (!p) return 1;
    *p = -3;
    return (u8)*p;
}
// No page is allocated there: it reads as zero, and stores are ignored.
SLEEPS long unbacked_proven_v1(void* c) {
    volatile int ARENA* p = pages(1);
    if (!p) return 1;
    p[2000] = 5;
    return p[2000] + 1;
}
// Globals lie at the arena's start.
int ARENA counter = 5;
int ARENA table[2000];
TC long globals_v15(void* c) {
    counter += 3;
    table[1999] = 7;
    return counter + table[1999] + table[0];
}
TC long may_not_sleep_no(void* c) { return pages(1) != NULL; }
