// Data sections as maps: plain, constant, zero, custom and string ones, with addends.
#include "bpf.h"

int plain = 5;
u64 wide = 0x1122334455667788ull;
static int hidden = 7;
static volatile int hidden_array[6] = {1, 2, 3, 4, 5, 6};
const volatile int limit = 9;
const volatile char text[12] = "hello";
static const volatile u64 table[4] = {10, 20, 30, 40};
int zero;
struct { u32 a; u16 b[3]; } zeros[4];
static volatile u64 hidden_zero[3];
int custom SEC(".data.custom") = 3;
const volatile int custom_constant SEC(".rodata.custom") = 4;

NOINLINE int sum(int i) {
    hidden += i;
    return hidden + hidden_array[3] + (int)table[2];
}

SEC("xdp") int reads(void* ctx) {
    (void)ctx;
    zero += plain;
    zeros[2].b[1] = (u16)limit;
    hidden_zero[1] = wide;
    return sum(zero) + hidden_array[5] + text[1] + custom + custom_constant + (int)hidden_zero[2];
}

SEC("tc") int prints(void* ctx) {
    (void)ctx;
    const char* names[] = {"one", "three", "seventeen"};
    trace_printk(names[OPAQUE(1)], 6, limit);
    trace_printk("a format %d\n", 13, (int)table[3]);
    return 0;
}

char kLicense[] SEC("license") = "Dual BSD/GPL";
u32 kVersion SEC("version") = 0x60100;
