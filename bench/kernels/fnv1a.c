// FNV-1a over 1024 bytes: one byte load, xor and multiplication per round, all dependent.
#include "kernel.h"
KERNEL(fnv1a) {
    u64 hash = 0xcbf29ce484222325;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) hash = (hash ^ mem[i]) * 0x100000001b3;
    return hash;
}
