// The same checksum in network order, a swap per word.
#include "kernel.h"
KERNEL(csum_be) {
    u32 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1200; i += 2) sum += swap16(get16(mem + i));
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)~sum;
}
