// 64 look-ups in a per-CPU array.
#include "maps.h"
PERCPU_ARRAY(percpu_array);
KERNEL(map_percpu) {
    u64 sum = 0;
    u32 x = 7;
    NO_UNROLL for (u32 i = 0; i < 64; i++) {
        x = next_key(x);
        u32 key = x >> 22;
        u64* value = array_lookup(&percpu_array, &key);
        if (value) sum += *value;
    }
    return sum;
}
