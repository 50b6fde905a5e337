// 64 calls of a function with arguments and state of its own, three levels deep.
#include "kernel.h"
FUNCTION u64 third(u64 a, u64 b);
FUNCTION u64 second(u64 a, u64 b, u64 c);
FUNCTION u64 first(u64 a, u64 b, u64 c);
KERNEL(calls) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 64; i++) sum = first(sum, mem[i], i);
    return sum;
}
FUNCTION u64 first(u64 a, u64 b, u64 c) { return second(a + c, b, c) ^ second(b, a, c + 1); }
FUNCTION u64 second(u64 a, u64 b, u64 c) { return third(a, b * 3) + third(b, c) + a; }
FUNCTION u64 third(u64 a, u64 b) { return (a ^ rotl64(b, 9)) * 0x9e3779b97f4a7c15; }
