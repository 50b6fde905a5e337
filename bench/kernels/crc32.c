// CRC-32, bit by bit, over 128 bytes.
#include "kernel.h"
KERNEL(crc32) {
    u32 crc = 0xffffffff;
    NO_UNROLL for (u32 i = 0; i < 128; i++) {
        crc ^= mem[i];
        NO_UNROLL for (u32 bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
    }
    return crc ^ 0xffffffff;
}
