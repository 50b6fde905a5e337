// Primes below 1024 by Eratosthenes' sieve.
#include "kernel.h"
KERNEL(sieve) {
    u8* composite = mem + HALF;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) composite[i] = 0;
    NO_UNROLL for (u32 i = 2; i < 32; i++) {
        if (composite[i]) continue;
        NO_UNROLL for (u32 j = i * i; j < 1024; j += i) composite[j] = 1;
    }
    u32 primes = 0;
    NO_UNROLL for (u32 i = 2; i < 1024; i++) primes += !composite[i];
    return primes;
}
