// Divisions and remainders by constants, 64 and 32 bits.
#include "kernel.h"
KERNEL(divconst) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 16) {
        const u64 x = get64(mem + i);
        const u32 y = get32(mem + i + 8);
        sum += x / 10 + x % 1000 + y / 7 + y % 86400;
    }
    return sum;
}
