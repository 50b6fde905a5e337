// A table-driven automaton of 16 states over the high nibbles of 1 KiB.
#include "kernel.h"
KERNEL(dfa) {
    u8* table = mem + HALF;
    NO_UNROLL for (u32 i = 0; i < 256; i++) table[i] = (mem[i] + i) & 15;
    u32 state = 0, accepted = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) {
        state = table[(state << 4 | mem[i] >> 4) & 255];
        if (state == 7) accepted++;
    }
    return (u64)accepted << 32 | state;
}
