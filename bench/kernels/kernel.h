// What every benchmark kernel is made of. A kernel is one C file that is compiled twice: natively,
// and for BPF (the section `raw`, entry first). It gets kSize bytes of fixed content; it may write
// only to the second half, and writes there before it reads, so that every run does the same work.
// Trip counts are constants and indices are masked: a verifier can follow them.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;

#define SIZE 4096
#define HALF 2048  // input bytes; the rest is scratch

#ifdef __bpf__
#define KERNEL(name) __attribute__((section("raw"), used)) u64 kernel(u8* mem, u64 len)
#define FUNCTION __attribute__((section("raw"), noinline)) static
#else
#define KERNEL(name) u64 native_##name(u8* mem, u64 len)
#define FUNCTION __attribute__((noinline)) static
#endif
#define INLINE __attribute__((always_inline)) static inline
#define UNROLL _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")

INLINE u16 get16(const u8* p) { return *(const u16*)p; }
INLINE u32 get32(const u8* p) { return *(const u32*)p; }
INLINE u64 get64(const u8* p) { return *(const u64*)p; }
INLINE u32 rotl32(u32 x, int n) { return x << n | x >> (32 - n); }
INLINE u64 rotl64(u64 x, int n) { return x << n | x >> (64 - n); }
INLINE u16 swap16(u16 x) { return __builtin_bswap16(x); }
INLINE u32 swap32(u32 x) { return __builtin_bswap32(x); }
INLINE u64 swap64(u64 x) { return __builtin_bswap64(x); }
