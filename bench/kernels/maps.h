// Maps and helpers for kernels: BPF programs call helpers; natively the same functions of the
// library are called directly, array lookups being inlined in both. Every map has keys 0..1023 with
// values 3 * key + 1.
#pragma once
#include "kernel.h"

#define ENTRIES 1024

#ifdef __bpf__
#undef KERNEL
#undef FUNCTION
#define KERNEL(name) __attribute__((section("xdp"), used)) u64 kernel(void* ctx)
#define FUNCTION __attribute__((noinline)) static
#define MAP(name, number)                                                    \
    struct {                                                                 \
        int (*type)[number];                                                 \
        int (*max_entries)[ENTRIES];                                         \
        u32* key;                                                            \
        u64* value;                                                          \
    } name __attribute__((section(".maps"), used))
#define ARRAY(name) MAP(name, 2)
#define PERCPU_ARRAY(name) MAP(name, 6)
#define HASH(name) MAP(name, 1)
#define LRU_HASH(name) MAP(name, 9)
static void* (*const map_lookup)(void* map, const void* key) = (void*)1;
static long (*const map_update)(void* map, const void* key, const void* value, u64 flags) = (void*)2;
static u32 (*const cpu_number)(void) = (void*)8;
static u32 (*const random_number)(void) = (void*)7;
static long (*const loop)(u32 rounds, void* callback, void* context, u64 flags) = (void*)181;
#define array_lookup map_lookup
#define hash_lookup map_lookup
#else
// What bench/native_maps.cpp fills in; skep/map.hpp's MapFastPath.
struct native_map {
    u8* base;
    u64 stride;
    u32 entries;
    void* (*find)(void* map, const void* key, u32 cpu);
    void* map;
};
#define ARRAY(name) extern struct native_map bench_array
#define PERCPU_ARRAY(name) extern struct native_map bench_percpu_array
#define HASH(name) extern struct native_map bench_hash
#define LRU_HASH(name) extern struct native_map bench_lru_hash
#define array bench_array
#define percpu_array bench_percpu_array
#define hash bench_hash
#define lru_hash bench_lru_hash
INLINE void* array_lookup(struct native_map* m, const u32* key) {
    return *key < m->entries ? m->base + *key * m->stride : 0;
}
INLINE void* hash_lookup(struct native_map* m, const u32* key) { return m->find(m->map, key, 0); }
long bench_update(void* map, const void* key, const void* value, u64 flags);
INLINE long map_update(struct native_map* m, const void* key, const void* value, u64 flags) {
    return bench_update(m->map, key, value, flags);
}
u32 bench_cpu_number(void);
#define cpu_number bench_cpu_number
INLINE long loop(u32 rounds, long (*callback)(u32, void*), void* context, u64 flags) {
    u32 i = 0;
    (void)flags;
    NO_UNROLL for (; i < rounds; i++)
        if (callback(i, context)) return i + 1;
    return i;
}
#endif

// The next key of a fixed sequence.
INLINE u32 next_key(u32 x) { return x * 1664525u + 1013904223u; }
