// Boyer-Moore-Horspool search for a pattern of 8 letters in 1 KiB over a small alphabet.
#include "kernel.h"
KERNEL(horspool) {
    u8* text = mem + HALF;
    u8* skip = text + 1024;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) text[i] = mem[i] & 15;
    NO_UNROLL for (u32 i = 0; i < 16; i++) skip[i] = 8;
    NO_UNROLL for (u32 i = 0; i < 7; i++) skip[mem[1500 + i] & 15] = 7 - i;
    u64 found = 0;
    u32 at = 0;
    NO_UNROLL while (at <= 1024 - 8) {
        u32 j = 8;
        NO_UNROLL while (j && text[(at + j - 1) & 1023] == (mem[1500 + j - 1] & 15)) j--;
        found += 8 - j;
        at += skip[text[(at + 7) & 1023] & 15];
    }
    return found << 16 | at;
}
