// Compares two blocks of 512 bytes that differ at the end, 8 bytes at a time, eight times.
#include "kernel.h"
KERNEL(memcmp) {
    u8* copy = mem + HALF;
    NO_UNROLL for (u32 i = 0; i < 512; i += 8) *(u64*)(copy + i) = get64(mem + i);
    u64 at = 0;
    NO_UNROLL for (u32 round = 0; round < 8; round++) {
        copy[511 - round] ^= 1;
        u32 i = 0;
        NO_UNROLL while (i < 512 && get64(mem + i) == get64(copy + i)) i += 8;
        at = at * 3 + i;
    }
    return at;
}
