// LEB128: 192 numbers written, then read again.
#include "kernel.h"
KERNEL(varint) {
    u8* out = mem + HALF;
    u32 at = 0;
    NO_UNROLL for (u32 i = 0; i < 192; i++) {
        u32 v = get32(mem + 4 * i) >> (mem[i] & 31);
        NO_UNROLL while (v >= 0x80) {
            out[at & 1023] = v | 0x80;
            at++;
            v >>= 7;
        }
        out[at & 1023] = v;
        at++;
    }
    u64 sum = 0;
    u32 value = 0, shift = 0;
    NO_UNROLL for (u32 i = 0; i < at && i < 1024; i++) {
        value |= (u32)(out[i] & 0x7f) << (shift & 31);
        shift += 7;
        if (out[i] & 0x80) continue;
        sum = sum * 31 + value;
        value = shift = 0;
    }
    return sum;
}
