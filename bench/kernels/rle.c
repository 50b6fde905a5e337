// Run-length coding of 512 bytes over a two-letter alphabet, and back.
#include "kernel.h"
KERNEL(rle) {
    u8* out = mem + HALF;
    u32 n = 0;
    u8 last = mem[0] & 1;
    u8 run = 0;
    NO_UNROLL for (u32 i = 0; i < 512; i++) {
        const u8 c = mem[i] & 1;
        if (c == last && run < 255) { run++; continue; }
        out[n & 1023] = run << 1 | last;
        n++;
        last = c;
        run = 1;
    }
    u64 sum = n;
    NO_UNROLL for (u32 i = 0; i < n && i < 512; i++) sum = sum * 31 + (out[i] >> 1) * (1 + (out[i] & 1));
    return sum;
}
