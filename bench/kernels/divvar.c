// Divisions and remainders by numbers from memory.
#include "kernel.h"
KERNEL(divvar) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 16) {
        const u64 x = get64(mem + i);
        const u32 y = get32(mem + i + 4);
        const u32 d = (mem[i + 9] & 0x7f) + 3;
        sum += x / d + y % d;
    }
    return sum;
}
