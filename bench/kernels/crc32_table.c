// CRC-32 with a table of 16 words that is built first, a nibble at a time, over 1 KiB.
#include "kernel.h"
KERNEL(crc32_table) {
    u32* table = (u32*)(mem + HALF);
    NO_UNROLL for (u32 i = 0; i < 16; i++) {
        u32 c = i;
        for (u32 bit = 0; bit < 4; bit++) c = c >> 1 ^ (0xedb88320 & (0 - (c & 1)));
        table[i] = c;
    }
    u32 crc = 0xffffffff;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) {
        crc ^= mem[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc ^ 0xffffffff;
}
