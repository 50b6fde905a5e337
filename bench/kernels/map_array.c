// 64 look-ups in an array.
#include "maps.h"
ARRAY(array);
KERNEL(map_array) {
    u64 sum = 0;
    u32 x = 7;
    NO_UNROLL for (u32 i = 0; i < 64; i++) {
        x = next_key(x);
        u32 key = x >> 22;
        u64* value = array_lookup(&array, &key);
        if (value) sum += *value;
    }
    return sum;
}
