// Byte swaps of every width, from memory.
#include "kernel.h"
KERNEL(bswap) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 16) {
        sum += swap64(get64(mem + i));
        sum ^= swap32(get32(mem + i + 8));
        sum += swap16(get16(mem + i + 12));
    }
    return sum;
}
