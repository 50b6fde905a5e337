// Lengths and comparisons of 32 short strings.
#include "kernel.h"
KERNEL(strlen_cmp) {
    u8* text = mem + HALF;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) text[i] = (i & 31) == 31 ? 0 : 'a' + (mem[i] & 1);
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 31; i++) {
        const u8* a = text + i * 32;
        const u8* b = a + 32;
        u32 length = 0;
        NO_UNROLL while (length < 32 && a[length]) length++;
        u32 same = 0;
        NO_UNROLL while (same < 32 && a[same] == b[same] && a[same]) same++;
        sum += length * 100 + same;
    }
    return sum;
}
