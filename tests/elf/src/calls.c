// Subprograms: static and global, nested, shared by programs, called twice, unused, by address, in
// two sections with several programs each.
#include "bpf.h"

u64 counter;

static NOINLINE int leaf(int a) { return OPAQUE(a) * 3; }
static NOINLINE int middle(int a) { counter += a; return leaf(a) + leaf(a + 1); }
NOINLINE int global_top(int a) { return middle(a) + (int)counter; }
NOINLINE int global_other(int a, int b) { return leaf(OPAQUE(a)) - b; }
NOINLINE int never_called(int a) { return global_other(a, 4); }
WEAK NOINLINE int weak_one(int a) { return OPAQUE(a) + 1; }

static int each(u32 index, u64* sum) {
    *sum += (u64)leaf((int)index);
    return 0;
}

SEC("tc") int first(void* ctx) { (void)ctx; return global_top(3); }
SEC("tc") int second(void* ctx) { (void)ctx; return leaf(4) + global_other(5, 6); }
SEC("xdp") int third(void* ctx) {
    (void)ctx;
    u64 sum = 0;
    loop(10, each, &sum, 0);
    return (int)sum + weak_one(2);
}
SEC("xdp") int fourth(void* ctx) { (void)ctx; return global_other(7, 8) + global_top(9); }
SEC("?xdp") int not_autoloaded(void* ctx) { (void)ctx; return middle(1); }

char kLicense[] SEC("license") = "GPL";
