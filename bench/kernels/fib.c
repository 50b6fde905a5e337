// 2000 Fibonacci numbers modulo 2^64: additions and moves only.
#include "kernel.h"
KERNEL(fib) {
    u64 a = mem[0], b = 1;
    NO_UNROLL for (u32 i = 0; i < 2000; i++) {
        const u64 next = a + b;
        a = b;
        b = next;
    }
    return b;
}
