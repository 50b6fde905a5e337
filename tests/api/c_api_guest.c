/* The guest of c_api_test.c: packets per first byte, a record of each, and one value that is dropped. */
#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value)* name

static void* (*const map_lookup)(void*, const void*) = (void*)1;
static long (*const map_update)(void*, const void*, const void*, __u64) = (void*)2;
static long (*const ringbuf_output)(void*, void*, __u64, __u64) = (void*)130;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} seen SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} events SEC(".maps");

const volatile __u32 blocked = 0;

SEC("xdp")
int count(struct xdp_md* ctx) {
    const __u8* data = (const __u8*)(long)ctx->data;
    const __u8* end = (const __u8*)(long)ctx->data_end;
    if (data + 1 > end) return XDP_ABORTED;
    __u32 key = *data;
    __u64* known = map_lookup(&seen, &key);
    if (known) {
        __sync_fetch_and_add(known, 1);
    } else {
        __u64 one = 1;
        map_update(&seen, &key, &one, BPF_ANY);
    }
    ringbuf_output(&events, &key, sizeof key, 0);
    return key == blocked ? XDP_DROP : XDP_PASS;
}

char license_text[] SEC("license") = "GPL";
