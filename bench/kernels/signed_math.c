// Signed arithmetic: clamping, arithmetic shifts, sign extension of 8 and 16 bit samples.
#include "kernel.h"
KERNEL(signed_math) {
    s64 sum = 0;
    s32 filter = 0;
    NO_UNROLL for (u32 i = 0; i < 512; i += 2) {
        const s32 a = (s8)mem[i];
        const s32 b = (s16)get16(mem + 512 + i);
        filter += (b * 3 - filter) >> 2;
        s32 v = filter + (a << 4);
        if (v > 16000) v = 16000;
        if (v < -16000) v = -16000;
        sum += v;
        sum -= sum >> 5;
    }
    return sum;
}
