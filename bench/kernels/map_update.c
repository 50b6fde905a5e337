// 64 updates in place of a hash map, with the values that are there.
#include "maps.h"
HASH(hash);
KERNEL(map_update) {
    u64 failed = 0;
    u32 x = 7;
    NO_UNROLL for (u32 i = 0; i < 64; i++) {
        x = next_key(x);
        u32 key = x >> 22;
        u64 value = 3 * key + 1;
        failed += map_update(&hash, &key, &value, 0) != 0;
    }
    return failed;
}
