/* The C interface of Skep, an embeddable eBPF virtual machine. C11 or later, C++, or anything with a
 * C foreign-function interface.
 *
 *   skep_error* error = NULL;
 *   skep_object* object = skep_object_open_file("filter.o", NULL, &error);
 *   skep_vm* vm = skep_vm_create(NULL, &error);
 *   skep_program* program = skep_vm_load(vm, object, "xdp_filter", &error);
 *   skep_xdp packet = {...};
 *   skep_result result = skep_program_run_xdp(program, &packet, NULL);
 *
 * Conventions:
 * - Handles are opaque. Functions that return a handle return NULL on an error; the caller frees a
 *   handle with the function named ..._free, which takes NULL too. A handle keeps alive what it
 *   needs: a program outlives its vm's and object's handles, a map handle its vm.
 * - Functions that may fail for a reason worth telling take a skep_error**: NULL, or the address of a
 *   pointer that gets a new error (free it with skep_error_free) or is left alone on success. Other
 *   functions return 0 or a negative errno value, Linux's numbers.
 * - Strings are UTF-8 with a NUL. Strings that functions return belong to the handle.
 * - Nothing aborts, prints, throws or keeps a pointer that it was given, unless it says so.
 * - Threads: a program may run on any number of threads at once; maps may be used by all of them;
 *   objects are configured by one thread; loading locks the vm. Freeing a handle that another thread
 *   is using is the caller's mistake; different handles to the same thing are independent.
 * - Structs with a member `size` grow at their end: set it with the ..._init function.
 */
#ifndef SKEP_SKEP_H
#define SKEP_SKEP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKEP_API __attribute__((visibility("default")))

/* Changes when something here changes meaning. */
#define SKEP_ABI_VERSION 1
SKEP_API int skep_abi_version(void);

typedef struct skep_error skep_error;
typedef struct skep_object skep_object;
typedef struct skep_vm skep_vm;
typedef struct skep_program skep_program;
typedef struct skep_map skep_map;
typedef struct skep_run skep_run; /* a run, as helpers see it */

/* --- errors ---------------------------------------------------------------------------------- */

SKEP_API void skep_error_free(skep_error* error);
SKEP_API int skep_error_code(const skep_error* error);         /* number of skep/errors.def */
SKEP_API const char* skep_error_name(const skep_error* error); /* its stable name, "bad_elf" */
SKEP_API const char* skep_error_message(const skep_error* error);
SKEP_API const char* skep_error_text(const skep_error* error); /* message with its place */
SKEP_API int64_t skep_error_slot(const skep_error* error);     /* instruction, -1 = not known */
SKEP_API const char* skep_error_file(const skep_error* error); /* source file, "" = not known */
SKEP_API uint32_t skep_error_line(const skep_error* error);    /* 0 = not known */

/* --- objects --------------------------------------------------------------------------------- */

/* Opens an ELF object. `btf_path`: types that CO-RE relocates against (raw BTF or ELF); NULL: the
 * running kernel's, if it publishes them. */
SKEP_API skep_object* skep_object_open_file(const char* path, const char* btf_path,
                                            skep_error** error);
/* The same from memory, which is copied; `name` is for messages. */
SKEP_API skep_object* skep_object_open(const void* bytes, size_t size, const char* name,
                                       const char* btf_path, skep_error** error);
SKEP_API void skep_object_free(skep_object* object);

SKEP_API size_t skep_object_program_count(const skep_object* object);
/* NULL beyond the last one. `section` is the ELF section, `type` as `skep types` names it or "". */
SKEP_API const char* skep_object_program_name(const skep_object* object, size_t index);
SKEP_API const char* skep_object_program_section(const skep_object* object, size_t index);
SKEP_API const char* skep_object_program_type(const skep_object* object, size_t index);
SKEP_API size_t skep_object_map_count(const skep_object* object);
SKEP_API const char* skep_object_map_name(const skep_object* object, size_t index);

/* Configuration, until the object's first program is loaded. 0, or -1 and an error. */
SKEP_API int skep_object_set_global(skep_object* object, const char* name, const char* value,
                                    skep_error** error); /* "42", "{1, 2}", "hex:0a0b", text */
SKEP_API int skep_object_set_map_size(skep_object* object, const char* map, uint32_t max_entries,
                                      skep_error** error);
SKEP_API int skep_object_set_map_contents(skep_object* object, const char* map, const void* bytes,
                                          size_t size, skep_error** error);
SKEP_API int skep_object_set_program_type(skep_object* object, const char* program,
                                          const char* type, skep_error** error);

/* --- virtual machines ------------------------------------------------------------------------ */

enum { SKEP_ENGINE_DEFAULT = 0, SKEP_ENGINE_INTERPRETER = 1, SKEP_ENGINE_JIT = 2 };
enum { SKEP_MODE_VERIFIED = 0, SKEP_MODE_SANDBOX = 1 };
enum { SKEP_POLICY_LINUX = 0, SKEP_POLICY_EXTENDED = 1, SKEP_POLICY_STRICT = 2,
       SKEP_POLICY_HARDENED = 3 };

/* Who the programs believe to run as. */
typedef struct skep_task {
    uint32_t pid, tgid, uid, gid, ppid;
    char comm[16];
} skep_task;

/* Callbacks are called from running programs, on any of their threads; NULL: the default, as
 * skep/services.hpp has it. `user` is handed to each. */
typedef struct skep_vm_options {
    size_t size;     /* of this struct */
    int engine;      /* SKEP_ENGINE_... */
    int mode;        /* SKEP_MODE_... */
    int policy;      /* SKEP_POLICY_... */
    uint64_t fuel;   /* units per run, 0 = the default */
    uint64_t map_bytes; /* bound on memory reserved for maps, 0 = the default */
    const char* kernel_btf_path; /* types of the system that tracing programs look into, or NULL */
    void* user;      /* skep_run_user() too */
    uint64_t (*ktime_ns)(void* user);
    uint64_t (*random)(void* user);
    void (*task)(void* user, skep_task* task); /* gets the defaults, changes what it wants */
    void (*trace)(void* user, const char* line, size_t length); /* a line of bpf_printk */
} skep_vm_options;
SKEP_API void skep_vm_options_init(skep_vm_options* options);

/* `options` NULL: the defaults (verified mode, strict policy). */
SKEP_API skep_vm* skep_vm_create(const skep_vm_options* options, skep_error** error);
SKEP_API void skep_vm_free(skep_vm* vm);

/* --- helpers of the host's ------------------------------------------------------------------- */

/* What a register of a helper must hold; the verifier proves it, a sandbox checks it at each call. */
enum {
    SKEP_ARG_NONE = 0,
    SKEP_ARG_VALUE = 1,            /* any number */
    SKEP_ARG_READ = 2,             /* readable memory; the next register is its SKEP_ARG_SIZE */
    SKEP_ARG_READ_OR_NULL = 3,
    SKEP_ARG_WRITE = 4,            /* memory that the helper writes in full */
    SKEP_ARG_SIZE = 5,             /* at least 1 */
    SKEP_ARG_SIZE_OR_ZERO = 6,
    SKEP_ARG_CONTEXT = 7,          /* the program's context: the struct that was given to run */
    SKEP_ARG_STRING = 8            /* constant text with a NUL */
};
enum { SKEP_RETURNS_NUMBER = 0, SKEP_RETURNS_NOTHING = 1 };

typedef struct skep_helper {
    uint32_t id;      /* from 1000 on */
    const char* name; /* copied */
    int args[5];      /* SKEP_ARG_..., then SKEP_ARG_NONE */
    int returns;      /* SKEP_RETURNS_... */
    /* Runs on the program's thread; pointers are host addresses, checked. */
    uint64_t (*function)(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                         skep_run* run);
} skep_helper;
/* 0, or -1 and an error. */
SKEP_API int skep_vm_add_helper(skep_vm* vm, const skep_helper* helper, skep_error** error);

SKEP_API void* skep_run_user(skep_run* run);
SKEP_API unsigned skep_run_cpu(skep_run* run);
/* Charges work to the run; 0: out of fuel, return at once. */
SKEP_API int skep_run_charge(skep_run* run, uint64_t units);
/* Ends the run with the trap `host_exception` when the helper returns. */
SKEP_API void skep_run_fail(skep_run* run);

/* --- programs -------------------------------------------------------------------------------- */

/* `program`: function name, else section name, else index; "" is the only one. */
SKEP_API skep_program* skep_vm_load(skep_vm* vm, const skep_object* object, const char* program,
                                    skep_error** error);
/* Raw 8-byte slots without maps; `type` as `skep types` names it; `raw_size`: type "raw", bytes
 * behind r1. */
SKEP_API skep_program* skep_vm_load_raw(skep_vm* vm, const uint64_t* slots, size_t count,
                                        const char* type, uint32_t raw_size, skep_error** error);
SKEP_API void skep_program_free(skep_program* program);
SKEP_API const char* skep_program_name(const skep_program* program);
SKEP_API int skep_program_engine(const skep_program* program); /* the one that runs it */

typedef struct skep_result {
    uint64_t r0;      /* meaningful without a trap */
    int trap;         /* 0, or a number of skep/traps.def */
    uint32_t slot;    /* where it trapped */
    uint32_t program; /* which program of a tail-call chain did */
} skep_result;
SKEP_API const char* skep_trap_name(int trap); /* "out_of_bounds"; "none" for 0 */
/* A line about a trap, with its place in the source, cut to `size` with a NUL; returns its length. */
SKEP_API size_t skep_program_describe(const skep_program* program, const skep_result* result,
                                      char* text, size_t size);

/* A packet with room around it: head <= data_meta <= data <= data_end <= hard_end. Programs may move
 * the inner bounds. */
typedef struct skep_packet {
    uint8_t *head, *data_meta, *data, *data_end, *hard_end;
} skep_packet;

typedef struct skep_xdp {
    skep_packet packet;
    uint32_t ingress_ifindex, rx_queue_index, egress_ifindex;
} skep_xdp;

/* struct __sk_buff, as far as hosts fill it in; `protocol` in network byte order. */
typedef struct skep_skb {
    skep_packet packet;
    uint32_t len, pkt_type, mark, queue_mapping, protocol;
    uint32_t vlan_present, vlan_tci, vlan_proto, priority;
    uint32_t ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, napi_id;
    uint64_t tstamp;
    uint32_t wire_len, gso_segs, gso_size;
} skep_skb;

/* Where a redirect helper sent the packet. */
typedef struct skep_redirect {
    int by_map;     /* 0: `key` is an interface, or nothing was redirected (key 0) */
    uint64_t key;   /* of the map that the program named */
    uint64_t flags;
} skep_redirect;

/* `redirect` may be NULL. A context of another kind than the program's: trap bad_argument. */
SKEP_API skep_result skep_program_run_xdp(const skep_program* program, skep_xdp* context,
                                          skep_redirect* redirect);
SKEP_API skep_result skep_program_run_skb(const skep_program* program, skep_skb* context,
                                          skep_redirect* redirect);
/* Types whose context is bytes (tracing), and raw: r1 = `data`, r2 = `size`. */
SKEP_API skep_result skep_program_run_bytes(const skep_program* program, void* data, size_t size);
/* Stops running and future runs with the trap `interrupted`, until cleared. */
SKEP_API void skep_program_interrupt(const skep_program* program);
SKEP_API void skep_program_clear_interrupt(const skep_program* program);

/* --- maps ------------------------------------------------------------------------------------ */

/* A new handle to the map of that name; NULL if no loaded program brought one. */
SKEP_API skep_map* skep_vm_map(const skep_vm* vm, const char* name);
SKEP_API void skep_map_free(skep_map* map);
SKEP_API const char* skep_map_name(const skep_map* map);
SKEP_API uint32_t skep_map_type(const skep_map* map); /* Linux's number */
SKEP_API uint32_t skep_map_key_size(const skep_map* map);
/* Bytes of an entry as programs see it, and as lookup and update exchange it: per-CPU maps have a
 * value, rounded up to 8 bytes, for each CPU. */
SKEP_API uint32_t skep_map_value_size(const skep_map* map);
SKEP_API uint64_t skep_map_entry_size(const skep_map* map);
SKEP_API uint32_t skep_map_max_entries(const skep_map* map);

/* 0 or a negative errno. `size` must be at least skep_map_entry_size(). flags: BPF_ANY 0,
 * BPF_NOEXIST 1, BPF_EXIST 2. */
SKEP_API int skep_map_lookup(skep_map* map, const void* key, void* value, size_t size);
SKEP_API int skep_map_update(skep_map* map, const void* key, const void* value, size_t size,
                             uint64_t flags);
SKEP_API int skep_map_delete(skep_map* map, const void* key);
/* The key behind `key`, NULL for the first; -2 (ENOENT) after the last. */
SKEP_API int skep_map_next_key(skep_map* map, const void* key, void* next);
/* Queues and stacks: `size` as the value size. */
SKEP_API int skep_map_push(skep_map* map, const void* value, size_t size);
SKEP_API int skep_map_pop(skep_map* map, void* value, size_t size);
/* Program arrays; maps of maps. The program was loaded into, the inner map belongs to, `vm`. */
SKEP_API int skep_vm_set_program(skep_vm* vm, skep_map* prog_array, uint32_t index,
                                 const skep_program* program, skep_error** error);
SKEP_API int skep_vm_set_inner_map(skep_vm* vm, skep_map* outer, const void* key, skep_map* inner,
                                   skep_error** error);

/* Ring buffers and perf event arrays: hands at most `limit` records to `consume` until it returns 0;
 * the number of records, or a negative errno. `data` is valid during the call. Perf event arrays
 * need skep_map_open_events() first. */
typedef int (*skep_consume)(void* user, unsigned cpu, const void* data, size_t size,
                            uint64_t lost);
SKEP_API long skep_map_consume(skep_map* map, skep_consume consume, void* user, uint64_t limit);
SKEP_API int skep_map_open_events(skep_map* map, uint64_t bytes_per_cpu);
/* Readable when there may be records; the map's own. Negative errno without. */
SKEP_API int skep_map_event_fd(skep_map* map);

#ifdef __cplusplus
}
#endif

#endif
