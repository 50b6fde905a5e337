// The Internet checksum over 1200 bytes, 16 bits at a time, folded at the end.
#include "kernel.h"
KERNEL(csum) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1200; i += 2) sum += get16(mem + i);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)~sum;
}
