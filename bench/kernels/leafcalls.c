// 256 calls of a small leaf function.
#include "kernel.h"
FUNCTION u64 leaf(u64 a, u64 b);
KERNEL(leafcalls) {
    u64 sum = 1;
    NO_UNROLL for (u32 i = 0; i < 256; i++) sum = leaf(sum, i);
    return sum;
}
FUNCTION u64 leaf(u64 a, u64 b) { return (a << 1 ^ b) + 7; }
