// The compression of SHA-256 over four blocks, with round constants from memory.
#include "kernel.h"
KERNEL(sha256) {
    u32* w = (u32*)(mem + HALF);
    u32 state[8];
    UNROLL for (u32 i = 0; i < 8; i++) state[i] = get32(mem + 1024 + 4 * i);
    NO_UNROLL for (u32 block = 0; block < 4; block++) {
        NO_UNROLL for (u32 i = 0; i < 16; i++) w[i] = swap32(get32(mem + block * 64 + i * 4));
        NO_UNROLL for (u32 i = 16; i < 64; i++) {
            const u32 p = w[i - 15], q = w[i - 2];
            const u32 s0 = rotl32(p, 25) ^ rotl32(p, 14) ^ p >> 3;
            const u32 s1 = rotl32(q, 15) ^ rotl32(q, 13) ^ q >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        u32 a = state[0], b = state[1], c = state[2], d = state[3];
        u32 e = state[4], f = state[5], g = state[6], h = state[7];
        NO_UNROLL for (u32 i = 0; i < 64; i++) {
            const u32 s1 = rotl32(e, 26) ^ rotl32(e, 21) ^ rotl32(e, 7);
            const u32 t1 = h + s1 + ((e & f) ^ (~e & g)) + get32(mem + 1280 + i * 4) + w[i];
            const u32 s0 = rotl32(a, 30) ^ rotl32(a, 19) ^ rotl32(a, 10);
            const u32 t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g; g = f; f = e; e = d + t1;
            d = c; c = b; b = a; a = t1 + t2;
        }
        state[0] += a; state[1] += b; state[2] += c; state[3] += d;
        state[4] += e; state[5] += f; state[6] += g; state[7] += h;
    }
    return (u64)state[0] << 32 | (state[1] ^ state[7]);
}
