// A byte-wise copy of 512 bytes. Compilers turn it into vector code: apart in the averages.
#include "kernel.h"
KERNEL(memcpy8) {
    u8* to = mem + HALF;
    NO_UNROLL for (u32 i = 0; i < 512; i++) to[i] = mem[i];
    return get64(to + 504);
}
