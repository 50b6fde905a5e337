// Externs: kernel configuration of every type, kernel variables and functions, weak ones.
#include "bpf.h"

#if !defined(__clang__)
#error "bpf-gcc of GCC 12 describes no externs"
#endif
#define KCONFIG __attribute__((section(".kconfig")))
#define KSYM __attribute__((section(".ksyms")))
enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern int LINUX_KERNEL_VERSION KCONFIG;
extern unsigned long CONFIG_HZ KCONFIG;
extern _Bool CONFIG_BPF_JIT KCONFIG;
extern enum libbpf_tristate CONFIG_MODULES KCONFIG;
extern char CONFIG_LOCALVERSION[20] KCONFIG;
extern u16 CONFIG_NO_SUCH KCONFIG WEAK;

extern const void bpf_prog_active_none KSYM WEAK;
extern const int runqueues_none KSYM WEAK;
extern void bpf_no_such_kfunc(void* p) KSYM WEAK;

u64 out[8];

SEC("raw_tp/sys_enter") int config(void* ctx) {
    (void)ctx;
    out[0] = LINUX_KERNEL_VERSION;
    out[1] = CONFIG_HZ;
    out[2] = CONFIG_BPF_JIT;
    out[3] = CONFIG_MODULES;
    out[4] = CONFIG_LOCALVERSION[OPAQUE(2)];
    out[5] = CONFIG_NO_SUCH;
    return 0;
}

SEC("raw_tp/sys_exit") int symbols(void* ctx) {
    out[0] = (u64)&bpf_prog_active_none;
    out[1] = (u64)&runqueues_none;
    if (bpf_no_such_kfunc) bpf_no_such_kfunc(ctx);
    return 0;
}

char kLicense[] SEC("license") = "GPL";
