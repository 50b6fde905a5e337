// Adler-32 over 1 KiB with a modulo every 16 bytes.
#include "kernel.h"
KERNEL(adler32) {
    u32 a = 1, b = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 16) {
        NO_UNROLL for (u32 j = 0; j < 16; j++) {
            a += mem[i + j];
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}
