// Functions that a host brings (tests/elf/kfunc_run_test.cpp).
#include "../src/bpf.h"

extern int host_length(const void* bytes, u32 size) SEC(".ksyms");
extern _Bool host_is_seven(u32 value) SEC(".ksyms");

char _license[] SEC("license") = "GPL";

SEC("xdp") int asks_host(void* ctx) {
    u64 word = OPAQUE(5ull);
    if (!host_is_seven(7) || host_is_seven(8)) return 2;
    return host_length(&word, sizeof(word));
}

SEC("xdp") int asks_wrongly(void* ctx) {
    u64 word = OPAQUE(5ull);
    return host_length(&word, 64);
}
