// A rate limiter: 128 packets, 8 buckets, refill by time with a division, branchy.
#include "kernel.h"
KERNEL(token_bucket) {
    u64* tokens = (u64*)(mem + HALF);
    u64* stamp = tokens + 8;
    NO_UNROLL for (u32 i = 0; i < 8; i++) {
        tokens[i] = 1000;
        stamp[i] = 0;
    }
    u64 now = 0, passed = 0;
    NO_UNROLL for (u32 i = 0; i < 128; i++) {
        now += mem[i] * 100;
        const u32 flow = mem[512 + i] & 7;
        const u64 size = 64 + (get16(mem + 1024 + 2 * i) & 1023);
        u64 have = tokens[flow] + (now - stamp[flow]) * 3 / 100;
        if (have > 4000) have = 4000;
        stamp[flow] = now;
        if (have >= size) {
            have -= size;
            passed++;
        }
        tokens[flow] = have;
    }
    return passed << 32 | tokens[3];
}
