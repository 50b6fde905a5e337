// A chain of 32-bit arithmetic: 256 rounds of an LCG with shifts, rotations and subtraction.
#include "kernel.h"
KERNEL(alu32) {
    u32 a = get32(mem), b = get32(mem + 4), c = 7;
    NO_UNROLL for (u32 i = 0; i < 256; i++) {
        a = a * 1664525 + 1013904223;
        b ^= a >> 3;
        b = rotl32(b, 7) - c;
        c += b & 0xff;
        a ^= b << 5;
        c = (c | 1) ^ a;
    }
    return (u64)a << 32 | (b ^ c);
}
