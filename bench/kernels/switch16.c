// A switch of sixteen cases over 512 bytes.
#include "kernel.h"
KERNEL(switch16) {
    u64 v = 1;
    NO_UNROLL for (u32 i = 0; i < 512; i++) {
        switch (mem[i] & 15) {
            case 0: v += 3; break;
            case 1: v ^= 0x55; break;
            case 2: v *= 7; break;
            case 3: v -= i; break;
            case 4: v = rotl64(v, 5); break;
            case 5: v |= 1; break;
            case 6: v ^= v >> 7; break;
            case 7: v += v << 3; break;
            case 8: v = ~v; break;
            case 9: v -= 11; break;
            case 10: v *= 3; break;
            case 11: v ^= i; break;
            case 12: v += mem[i]; break;
            case 13: v = v >> 1 | v << 63; break;
            case 14: v ^= 0xff00; break;
            default: v += 1; break;
        }
    }
    return v;
}
