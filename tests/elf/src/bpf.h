// What the test objects need of eBPF's C dialect, so that they compile without any header package.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define NOINLINE __attribute__((noinline))
#define WEAK __attribute__((weak))
#define UINT(name, value) int(*name)[value]
#define TYPE(name, type) type* name
#define ARRAY(name, type) type* name[]

enum {
    MAP_HASH = 1,
    MAP_ARRAY = 2,
    MAP_PROG_ARRAY = 3,
    MAP_PERCPU_ARRAY = 6,
    MAP_ARRAY_OF_MAPS = 12,
    MAP_HASH_OF_MAPS = 13,
    MAP_RINGBUF = 27,
    MAP_BLOOM = 30
};

// Helpers are calls of their numbers.
#if defined(__clang__)
#define HELPER(number, result, name, ...) static result (*const name)(__VA_ARGS__) = (void*)number
#else
#define HELPER(number, result, name, ...) \
    extern result name(__VA_ARGS__) __attribute__((kernel_helper(number)))
#endif
HELPER(1, void*, map_lookup, void* map, const void* key);
HELPER(6, long, trace_printk, const char* format, u32 size, ...);
HELPER(12, long, tail_call, void* ctx, void* map, u32 index);
HELPER(181, long, loop, u32 rounds, void* callback, void* ctx, u64 flags);

// The compiler must not see through this.
#define OPAQUE(x)                             \
    ({                                        \
        __typeof__(x) opaque_ = (x);          \
        __asm__ volatile("" : "+r"(opaque_)); \
        opaque_;                              \
    })
