// Atomic additions, exchanges and comparisons on scratch memory.
#include "kernel.h"
KERNEL(atomics) {
    u64* p = (u64*)(mem + HALF);
    u32* q = (u32*)(mem + HALF + 8);
    *p = 1;
    *q = 1;
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 64; i++) {
        sum += __sync_fetch_and_add(p, i);
        sum ^= __sync_fetch_and_or(q, i);
        sum += __sync_lock_test_and_set(p, sum);
        sum ^= __sync_val_compare_and_swap(q, i, i + 1);
    }
    return sum ^ *p ^ *q;
}
