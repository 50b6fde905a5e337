// Bit fields out of 64 headers of 16 bytes.
#include "kernel.h"
KERNEL(fields) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 16) {
        const u32 a = get32(mem + i), b = get32(mem + i + 4);
        const u64 c = get64(mem + i + 8);
        sum += (a & 0xf) + (a >> 4 & 0xff) * (a >> 12 & 0x3ff);
        sum ^= (u64)(b >> 3 & 0x1ffff) << (b & 31);
        sum += (c >> 17 & 0x3fffff) - (c >> 60);
    }
    return sum;
}
