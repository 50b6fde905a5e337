// Base64 of 384 bytes into scratch memory, the alphabet by arithmetic; then a sum over the text.
#include "kernel.h"
INLINE u8 letter(u32 v) {
    if (v < 26) return 'A' + v;
    if (v < 52) return 'a' + v - 26;
    if (v < 62) return '0' + v - 52;
    return v == 62 ? '+' : '/';
}
KERNEL(base64) {
    u8* out = mem + HALF;
    u32 sum = 0;
    NO_UNROLL for (u32 i = 0, o = 0; i < 384; i += 3, o += 4) {
        const u32 v = (u32)mem[i] << 16 | (u32)mem[i + 1] << 8 | mem[i + 2];
        out[o] = letter(v >> 18);
        out[o + 1] = letter(v >> 12 & 63);
        out[o + 2] = letter(v >> 6 & 63);
        out[o + 3] = letter(v & 63);
        sum = sum * 31 + out[o] + out[o + 3];
    }
    return sum;
}
