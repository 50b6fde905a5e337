// Kernel functions, and parameters of global functions that tags describe. tests/elf/kfunc_run_test
// runs what begins with "run_" on the packet 0, 1, 2 ... 63: it returns 1 if all is as it should be.
#include "kernel.h"

struct bpf_iter_num {
    u64 opaque[1];
} __attribute__((aligned(8)));
struct bpf_iter_bits {
    u64 opaque[2];
} __attribute__((aligned(8)));

HELPER(44, long, adjust_head, void* ctx, int delta);
HELPER(201, long, dynptr_read, void* to, u32 size, const struct bpf_dynptr* from, u32 at, u64 flags);
HELPER(202, long, dynptr_write, const struct bpf_dynptr* to, u32 at, void* from, u32 size, u64 flags);
HELPER(203, void*, dynptr_data, const struct bpf_dynptr* from, u32 at, u32 size);

extern int bpf_iter_num_new(struct bpf_iter_num* it, int start, int end) KSYM;
extern int* bpf_iter_num_next(struct bpf_iter_num* it) KSYM;
extern void bpf_iter_num_destroy(struct bpf_iter_num* it) KSYM;
extern int bpf_iter_bits_new(struct bpf_iter_bits* it, const u64* words, u32 count) KSYM;
extern int* bpf_iter_bits_next(struct bpf_iter_bits* it) KSYM;
extern void bpf_iter_bits_destroy(struct bpf_iter_bits* it) KSYM;
extern int bpf_dynptr_from_xdp(struct xdp_md* x, u64 flags, struct bpf_dynptr* out) KSYM;
extern int bpf_dynptr_adjust(const struct bpf_dynptr* p, u32 start, u32 end) KSYM;
extern _Bool bpf_dynptr_is_null(const struct bpf_dynptr* p) KSYM;
extern _Bool bpf_dynptr_is_rdonly(const struct bpf_dynptr* p) KSYM;
extern u32 bpf_dynptr_size(const struct bpf_dynptr* p) KSYM;
extern int bpf_dynptr_clone(const struct bpf_dynptr* p, struct bpf_dynptr* clone) KSYM;
extern int bpf_dynptr_copy(struct bpf_dynptr* to, u32 to_at, struct bpf_dynptr* from, u32 from_at,
                           u32 size) KSYM;
extern int bpf_dynptr_memset(struct bpf_dynptr* p, u32 at, u32 size, u8 value) KSYM;
extern void* bpf_dynptr_slice(const struct bpf_dynptr* p, u32 at, void* buffer, u32 size) KSYM;
extern void* bpf_dynptr_slice_rdwr(const struct bpf_dynptr* p, u32 at, void* buffer, u32 size) KSYM;
extern void bpf_rcu_read_lock(void) KSYM;
extern void bpf_rcu_read_unlock(void) KSYM;
extern void bpf_preempt_disable(void) KSYM;
extern void bpf_preempt_enable(void) KSYM;
extern void bpf_local_irq_save(unsigned long* flags) KSYM;
extern void bpf_local_irq_restore(unsigned long* flags) KSYM;
extern void bpf_throw(u64 cookie) KSYM;
extern int bpf_strlen(const char* s) KSYM WEAK;
extern int bpf_strnlen(const char* s, unsigned long count) KSYM;
extern int bpf_strcmp(const char* a, const char* b) KSYM;
extern int bpf_strcasecmp(const char* a, const char* b) KSYM;
extern int bpf_strchr(const char* s, char c) KSYM;
extern int bpf_strrchr(const char* s, int c) KSYM;
extern int bpf_strchrnul(const char* s, char c) KSYM;
extern int bpf_strnchr(const char* s, unsigned long count, char c) KSYM;
extern int bpf_strspn(const char* s, const char* accept) KSYM;
extern int bpf_strcspn(const char* s, const char* reject) KSYM;
extern int bpf_strstr(const char* a, const char* b) KSYM;
extern int bpf_strnstr(const char* a, const char* b, unsigned long count) KSYM;
extern int bpf_no_such_function(int) KSYM WEAK;

char _license[] SEC("license") = "GPL";

// What loops add up, where no state of theirs tells rounds apart.
int sum, count;
const char hello[] = "hello, world", world[] = "world", capital[] = "HELLO, World", empty[] = "";

SEC("xdp") int run_numbers(struct xdp_md* x) {
    struct bpf_iter_num it;
    int* p;
    sum = 0;
    bpf_iter_num_new(&it, 3, 10);
    while ((p = bpf_iter_num_next(&it))) sum += *p;
    bpf_iter_num_destroy(&it);
    const int none = bpf_iter_num_new(&it, 1, 0);
    while ((p = bpf_iter_num_next(&it))) sum += 1000;
    bpf_iter_num_destroy(&it);
    return sum == 42 && none == -22;
}

SEC("xdp") int run_bits(struct xdp_md* x) {
    u64 words[2] = {0x8000000000000101ull, 0x10};
    struct bpf_iter_bits it;
    int* p;
    sum = count = 0;
    const int error = bpf_iter_bits_new(&it, words, 2);
    while ((p = bpf_iter_bits_next(&it))) {
        sum += *p;
        ++count;
    }
    bpf_iter_bits_destroy(&it);
    return error == 0 && sum == 0 + 8 + 63 + 68 && count == 4;
}

SEC("xdp") int run_slice(struct xdp_md* x) {
    struct bpf_dynptr d;
    u8 buffer[16] = {}, *p;
    if (bpf_dynptr_from_xdp(x, 0, &d) != 0) return 2;
    if (bpf_dynptr_size(&d) != 64 || bpf_dynptr_is_null(&d) || bpf_dynptr_is_rdonly(&d)) return 3;
    p = bpf_dynptr_slice(&d, 20, buffer, 16);
    if (!p || p[0] != 20 || p[15] != 35) return 4;
    if (bpf_dynptr_slice(&d, 49, buffer, 16)) return 5;
    p = bpf_dynptr_slice_rdwr(&d, 0, buffer, 4);
    if (!p) return 6;
    p[1] = 99;
    u8 read[2] = {};
    if (dynptr_read(read, 2, &d, 1, 0) != 0 || read[0] != 99 || read[1] != 2) return 7;
    if (dynptr_data(&d, 0, 4)) return 8;
    return 1;
}

SEC("xdp") int run_slice_follows_packet(struct xdp_md* x) {
    struct bpf_dynptr d;
    u8* p;
    bpf_dynptr_from_xdp(x, 0, &d);
    if (adjust_head(x, 10) != 0) return 2;
    p = bpf_dynptr_slice(&d, 0, 0, 4);
    if (!p || p[0] != 10) return 3;
    // The dynptr is as long as the packet was; what it lies over has become shorter.
    return bpf_dynptr_size(&d) == 64 && !bpf_dynptr_slice(&d, 52, 0, 4);
}

SEC("xdp") int run_dynptr_ranges(struct xdp_md* x) {
    struct bpf_dynptr d, clone;
    u8 bytes[4] = {9, 8, 7, 6};
    bpf_dynptr_from_xdp(x, 0, &d);
    if (bpf_dynptr_adjust(&d, 70, 80) != -34 || bpf_dynptr_adjust(&d, 5, 4) != -22) return 2;
    if (bpf_dynptr_clone(&d, &clone) != 0) return 3;
    if (bpf_dynptr_adjust(&d, 10, 30) != 0 || bpf_dynptr_size(&d) != 20) return 4;
    if (bpf_dynptr_size(&clone) != 64) return 5;
    if (dynptr_write(&d, 18, bytes, 4, 0) != -7) return 6;
    if (dynptr_write(&d, 16, bytes, 4, 0) != 0) return 7;
    if (bpf_dynptr_copy(&clone, 0, &d, 16, 4) != 0) return 8;
    if (bpf_dynptr_memset(&clone, 4, 2, 0xee) != 0) return 9;
    if (bpf_dynptr_memset(&clone, 63, 2, 0xee) != -7) return 10;
    u8* p = bpf_dynptr_slice(&clone, 0, 0, 6);
    if (!p || p[0] != 9 || p[3] != 6 || p[4] != 0xee || p[5] != 0xee) return 11;
    return 1;
}

SEC("xdp") int run_sections(struct xdp_md* x) {
    unsigned long flags;
    bpf_rcu_read_lock();
    bpf_rcu_read_unlock();
    bpf_preempt_disable();
    bpf_preempt_enable();
    bpf_local_irq_save(&flags);
    bpf_local_irq_restore(&flags);
    return 1;
}

SEC("xdp") int run_strings(struct xdp_md* x) {
    if (bpf_strlen(hello) != 12 || bpf_strlen(empty) != 0) return 2;
    if (bpf_strnlen(hello, 5) != 5 || bpf_strnlen(hello, 50) != 12) return 3;
    if (bpf_strcmp(hello, hello) != 0 || bpf_strcmp(hello, world) >= 0) return 4;
    if (bpf_strcasecmp(hello, capital) != 0 || bpf_strcmp(hello, capital) <= 0) return 5;
    if (bpf_strchr(hello, 'o') != 4 || bpf_strrchr(hello, 'o') != 8) return 6;
    if (bpf_strchr(hello, 'z') != -2 || bpf_strchrnul(hello, 'z') != 12) return 7;
    if (bpf_strnchr(hello, 4, 'o') != -2 || bpf_strnchr(hello, 5, 'o') != 4) return 8;
    if (bpf_strspn(hello, "elh") != 4 || bpf_strcspn(hello, ", ") != 5) return 9;
    if (bpf_strstr(hello, world) != 7 || bpf_strstr(hello, capital) != -2) return 10;
    if (bpf_strnstr(hello, world, 12) != 7 || bpf_strnstr(hello, world, 11) != -2) return 11;
    if (bpf_strlen((const char*)16) >= 0) return 12;
    return 1;
}

SEC("xdp") int run_throw(struct xdp_md* x) {
    bpf_throw(1);
    return 2;
}

static NOINLINE void deep(u32 value) {
    if (OPAQUE(value) != 7) bpf_throw(1);
}
SEC("xdp") int run_throw_from_below(struct xdp_md* x) {
    deep(x->ingress_ifindex);
    return 2;
}

NOINLINE int catches(u64 cookie) { return cookie == 1 ? 1 : 3; }
SEC("xdp") __attribute__((btf_decl_tag("exception_callback:catches"))) int run_catch(
    struct xdp_md* x) {
    deep(x->ingress_ifindex);
    bpf_throw(78);
    return 2;
}
NOINLINE int catches_too(u64 cookie) { return cookie == 1 ? 1 : 3; }
SEC("xdp") __attribute__((btf_decl_tag("exception_callback:catches_too"))) int run_catch_too(
    struct xdp_md* x) {
    deep(x->ingress_ifindex);
    return 2;
}

SEC("xdp") int run_weak(struct xdp_md* x) {
    if (bpf_no_such_function) return bpf_no_such_function(3);
    return bpf_strlen ? 1 : 2;
}

NOINLINE int size_of(const struct bpf_dynptr* d) { return bpf_dynptr_size(d); }
SEC("xdp") int run_dynptr_parameter(struct xdp_md* x) {
    struct bpf_dynptr d;
    bpf_dynptr_from_xdp(x, 0, &d);
    return size_of(&d) == 64;
}
