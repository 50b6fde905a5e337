// 256 calls of a helper that does next to nothing, with some arithmetic between.
#include "maps.h"
KERNEL(helper) {
    u64 sum = 1;
    NO_UNROLL for (u32 i = 0; i < 256; i++) sum = (sum << 1 ^ i) + cpu_number() / 4096;
    return sum;
}
