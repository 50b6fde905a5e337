// 64 look-ups in a hash map.
#include "maps.h"
HASH(hash);
KERNEL(map_hash) {
    u64 sum = 0;
    u32 x = 7;
    NO_UNROLL for (u32 i = 0; i < 64; i++) {
        x = next_key(x);
        u32 key = x >> 22;
        u64* value = hash_lookup(&hash, &key);
        if (value) sum += *value;
    }
    return sum;
}
