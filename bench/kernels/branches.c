// Unpredictable branches: a chain of comparisons on the bytes of 1 KiB.
#include "kernel.h"
KERNEL(branches) {
    u32 a = 0, b = 0, c = 0, d = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) {
        const u8 x = mem[i];
        if (x & 1) a += x; else b ^= x;
        if (x > 200) c++;
        else if (x > 100 && (x & 2)) d += a;
        if (((a ^ x) & 12) == 8) b += 3;
    }
    return (u64)a << 32 | (b ^ c ^ d);
}
