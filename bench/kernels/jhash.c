// Bob Jenkins' lookup3 mixing over 1536 bytes, 32-bit words.
#include "kernel.h"
KERNEL(jhash) {
    u32 a = 0xdeadbeef, b = a, c = a;
    NO_UNROLL for (u32 i = 0; i < 1536; i += 12) {
        a += get32(mem + i);
        b += get32(mem + i + 4);
        c += get32(mem + i + 8);
        a -= c; a ^= rotl32(c, 4); c += b;
        b -= a; b ^= rotl32(a, 6); a += c;
        c -= b; c ^= rotl32(b, 8); b += a;
        a -= c; a ^= rotl32(c, 16); c += b;
        b -= a; b ^= rotl32(a, 19); a += c;
        c -= b; c ^= rotl32(b, 4); b += a;
    }
    c ^= b; c -= rotl32(b, 14);
    a ^= c; a -= rotl32(c, 11);
    b ^= a; b -= rotl32(a, 25);
    return (u64)b << 32 | c;
}
