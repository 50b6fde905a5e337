// The same at 64 bits: xorshift, multiplication, rotation.
#include "kernel.h"
KERNEL(alu64) {
    u64 a = get64(mem), b = get64(mem + 8), c = 7;
    NO_UNROLL for (u32 i = 0; i < 256; i++) {
        a ^= a << 13;
        a ^= a >> 7;
        a ^= a << 17;
        b = b * 6364136223846793005ull + 1442695040888963407ull;
        c += rotl64(a ^ b, 21);
        b -= c & 0xffff;
    }
    return a ^ b ^ c;
}
