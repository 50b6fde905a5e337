// 128 walks down a binary trie of 256 nodes that is laid out in scratch memory.
#include "kernel.h"
KERNEL(trie) {
    u16* node = (u16*)(mem + HALF);
    NO_UNROLL for (u32 i = 0; i < 256; i++) {
        node[2 * i] = (i * 2 + 1) & 255;
        node[2 * i + 1] = (i * 2 + 2 + (mem[i] & 1)) & 255;
    }
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 128; i++) {
        u32 key = get32(mem + 4 * i), at = 0;
        NO_UNROLL for (u32 depth = 0; depth < 8; depth++) {
            at = node[(at * 2 + (key >> 31)) & 511];
            key <<= 1;
        }
        sum = sum * 31 + at;
    }
    return sum;
}
