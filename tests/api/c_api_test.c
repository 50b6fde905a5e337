/* The C interface, compiled as C: objects, programs, helpers, maps, errors. Arguments: an object of
 * tools/examples/dns_guard.c, if there is a compiler for it. Exit code 0: all as expected. */
#include <skep/skep.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            ++failures;                                                       \
        }                                                                     \
    } while (0)

/* One wire slot. */
static uint64_t slot(unsigned code, unsigned dst, unsigned src, int off, int imm) {
    return (uint64_t)code | (uint64_t)(dst | src << 4) << 8 | (uint64_t)(uint16_t)off << 16 |
           (uint64_t)(uint32_t)imm << 32;
}

static uint64_t add_up(uint64_t memory, uint64_t size, uint64_t r3, uint64_t r4, uint64_t r5,
                       skep_run* run) {
    const uint8_t* bytes = (const uint8_t*)(uintptr_t)memory;
    uint64_t sum = *(const uint64_t*)skep_run_user(run);
    (void)r3;
    (void)r4;
    (void)r5;
    if (!skep_run_charge(run, 1)) return 0;
    for (uint64_t i = 0; i < size; ++i) sum += bytes[i];
    return sum;
}

static uint64_t fail_always(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                            skep_run* run) {
    (void)r1;
    (void)r2;
    (void)r3;
    (void)r4;
    (void)r5;
    skep_run_fail(run);
    return 0;
}

static uint64_t fixed_clock(void* user) {
    (void)user;
    return 4711;
}

static void check_errors(void) {
    skep_error* error = NULL;
    CHECK(skep_object_open_file("/nowhere/at/all.o", NULL, &error) == NULL);
    CHECK(error != NULL);
    CHECK(strcmp(skep_error_name(error), "unreadable") == 0);
    CHECK(strlen(skep_error_message(error)) > 0);
    CHECK(strstr(skep_error_text(error), "all.o") != NULL);
    CHECK(skep_error_slot(error) == -1 && skep_error_line(error) == 0);
    CHECK(strcmp(skep_error_file(error), "") == 0);
    skep_error_free(error);

    /* Without a place for the error, and with arguments that are missing. */
    CHECK(skep_object_open("no elf", 6, "bytes", NULL, NULL) == NULL);
    CHECK(skep_object_open(NULL, 0, NULL, NULL, NULL) == NULL);
    CHECK(skep_vm_load(NULL, NULL, NULL, NULL) == NULL);
    CHECK(skep_program_run_bytes(NULL, NULL, 0).trap != 0);
    CHECK(strcmp(skep_trap_name(skep_program_run_bytes(NULL, NULL, 0).trap), "bad_argument") == 0);
    CHECK(strcmp(skep_trap_name(0), "none") == 0);
    skep_error_free(NULL);
    skep_object_free(NULL);
    skep_vm_free(NULL);
    skep_program_free(NULL);
    skep_map_free(NULL);

    skep_vm_options options;
    skep_vm_options_init(&options);
    options.mode = 99;
    error = NULL;
    CHECK(skep_vm_create(&options, &error) == NULL);
    CHECK(strcmp(skep_error_name(error), "invalid_argument") == 0);
    skep_error_free(error);
}

static void check_helpers(int mode) {
    uint64_t start = 1000;
    skep_vm_options options;
    skep_vm_options_init(&options);
    options.mode = mode;
    options.user = &start;
    options.ktime_ns = fixed_clock;
    skep_error* error = NULL;
    skep_vm* vm = skep_vm_create(&options, &error);
    CHECK(vm != NULL);

    skep_helper sum = {.id = 1000,
                       .name = "add_up",
                       .args = {SKEP_ARG_READ, SKEP_ARG_SIZE},
                       .returns = SKEP_RETURNS_NUMBER,
                       .function = add_up};
    CHECK(skep_vm_add_helper(vm, &sum, NULL) == 0);
    CHECK(skep_vm_add_helper(vm, &sum, &error) == -1); /* twice */
    skep_error_free(error);
    skep_helper wrong = {.id = 1001, .name = "wrong", .args = {SKEP_ARG_READ}, .function = add_up};
    error = NULL;
    CHECK(skep_vm_add_helper(vm, &wrong, &error) == -1); /* memory without a size */
    CHECK(strcmp(skep_error_name(error), "invalid_argument") == 0);
    skep_error_free(error);
    skep_helper fails = {.id = 1002, .name = "fails", .function = fail_always};
    CHECK(skep_vm_add_helper(vm, &fails, NULL) == 0);

    /* r0 = add_up(r1, 4) + bpf_ktime_get_ns() */
    const uint64_t code[] = {slot(0xb7, 2, 0, 0, 4),    slot(0x85, 0, 0, 0, 1000),
                             slot(0xbf, 6, 0, 0, 0),    slot(0x85, 0, 0, 0, 5),
                             slot(0x0f, 0, 6, 0, 0),    slot(0x95, 0, 0, 0, 0)};
    error = NULL;
    skep_program* program = skep_vm_load_raw(vm, code, 6, "raw", 4, &error);
    if (program == NULL) fprintf(stderr, "%s\n", skep_error_text(error));
    CHECK(program != NULL);
    uint8_t memory[4] = {1, 2, 3, 4};
    skep_result result = skep_program_run_bytes(program, memory, sizeof memory);
    CHECK(result.trap == 0 && result.r0 == 1000 + 10 + 4711);
    CHECK(skep_program_run_bytes(program, memory, 3).trap != 0); /* less than was declared */
    skep_program_interrupt(program);
    result = skep_program_run_bytes(program, memory, sizeof memory);
    CHECK(strcmp(skep_trap_name(result.trap), "interrupted") == 0);
    skep_program_clear_interrupt(program);
    CHECK(skep_program_run_bytes(program, memory, sizeof memory).trap == 0);
    CHECK(strlen(skep_program_name(program)) > 0);
    skep_program_free(program);

    const uint64_t failing[] = {slot(0x85, 0, 0, 0, 1002), slot(0x95, 0, 0, 0, 0)};
    program = skep_vm_load_raw(vm, failing, 2, "raw", 0, NULL);
    CHECK(program != NULL);
    result = skep_program_run_bytes(program, NULL, 0);
    CHECK(strcmp(skep_trap_name(result.trap), "host_exception") == 0);
    char text[64];
    CHECK(skep_program_describe(program, &result, text, sizeof text) > 0);
    CHECK(strlen(text) > 0 && strlen(text) < sizeof text);
    skep_program_free(program);

    /* A load outside of what was declared: refused when verified, a trap in a sandbox. */
    const uint64_t outside[] = {slot(0x79, 0, 1, 8, 0), slot(0x95, 0, 0, 0, 0)};
    error = NULL;
    program = skep_vm_load_raw(vm, outside, 2, "raw", 4, &error);
    if (mode == SKEP_MODE_VERIFIED) {
        CHECK(program == NULL && skep_error_slot(error) == 0);
        skep_error_free(error);
    } else {
        result = skep_program_run_bytes(program, memory, sizeof memory);
        CHECK(strcmp(skep_trap_name(result.trap), "out_of_bounds") == 0 && result.slot == 0);
    }
    skep_program_free(program);
    skep_vm_free(vm);
}

struct seen {
    unsigned records;
    uint32_t last;
};

static int see(void* user, unsigned cpu, const void* data, size_t size, uint64_t lost) {
    struct seen* seen = user;
    (void)cpu;
    (void)lost;
    if (size == 4) memcpy(&seen->last, data, 4);
    ++seen->records;
    return 1;
}

/* The object counts packets per protocol in a hash, writes a record of each to a ring buffer, and
 * drops what the global `blocked` names. */
static void check_object(const char* path) {
    skep_error* error = NULL;
    skep_object* object = skep_object_open_file(path, NULL, &error);
    if (object == NULL) fprintf(stderr, "%s\n", skep_error_text(error));
    CHECK(object != NULL);
    if (object == NULL) return;
    CHECK(skep_object_program_count(object) == 1);
    CHECK(strcmp(skep_object_program_name(object, 0), "count") == 0);
    CHECK(strcmp(skep_object_program_section(object, 0), "xdp") == 0);
    CHECK(strcmp(skep_object_program_type(object, 0), "xdp") == 0);
    CHECK(skep_object_program_name(object, 1) == NULL);
    CHECK(skep_object_map_count(object) >= 2);
    CHECK(skep_object_set_global(object, "blocked", "17", NULL) == 0);
    CHECK(skep_object_set_global(object, "nothing", "1", NULL) == -1);
    CHECK(skep_object_set_map_size(object, "seen", 64, NULL) == 0);

    skep_vm* vm = skep_vm_create(NULL, NULL);
    skep_program* program = skep_vm_load(vm, object, "count", &error);
    if (program == NULL) fprintf(stderr, "%s\n", skep_error_text(error));
    CHECK(program != NULL);
    skep_object_free(object);

    uint8_t buffer[256] = {0};
    uint8_t* data = buffer + 64;
    data[0] = 17;
    skep_xdp xdp = {{buffer, data, data, data + 60, buffer + sizeof buffer}, 1, 0, 0};
    CHECK(skep_program_run_xdp(program, &xdp, NULL).r0 == 1);
    data[0] = 6;
    CHECK(skep_program_run_xdp(program, &xdp, NULL).r0 == 2);
    CHECK(skep_program_run_xdp(program, &xdp, NULL).r0 == 2);
    skep_skb skb = {0};
    CHECK(skep_program_run_skb(program, &skb, NULL).trap != 0); /* another kind of program */

    /* Handles live on without the vm's. */
    skep_map* map = skep_vm_map(vm, "seen");
    skep_map* ring = skep_vm_map(vm, "events");
    CHECK(skep_vm_map(vm, "no such map") == NULL);
    skep_vm_free(vm);
    CHECK(map != NULL && ring != NULL);
    CHECK(skep_map_key_size(map) == 4 && skep_map_value_size(map) == 8);
    CHECK(skep_map_entry_size(map) == 8 && skep_map_max_entries(map) == 64);
    CHECK(skep_map_type(map) == 1 && strcmp(skep_map_name(map), "seen") == 0);
    uint32_t key = 6;
    uint64_t value = 0;
    CHECK(skep_map_lookup(map, &key, &value, sizeof value) == 0 && value == 2);
    CHECK(skep_map_lookup(map, &key, &value, 4) == -22);
    value = 100;
    CHECK(skep_map_update(map, &key, &value, sizeof value, 1) == -17);
    CHECK(skep_map_update(map, &key, &value, sizeof value, 2) == 0);
    CHECK(skep_program_run_xdp(program, &xdp, NULL).r0 == 2);
    CHECK(skep_map_lookup(map, &key, &value, sizeof value) == 0 && value == 101);
    unsigned entries = 0;
    for (int more = skep_map_next_key(map, NULL, &key); more == 0;
         more = skep_map_next_key(map, &key, &key))
        ++entries;
    CHECK(entries == 2);
    key = 17;
    CHECK(skep_map_delete(map, &key) == 0);
    CHECK(skep_map_delete(map, &key) == -2);
    struct seen seen = {0, 0};
    CHECK(skep_map_consume(ring, see, &seen, 100) == 4);
    CHECK(seen.records == 4 && seen.last == 6);
    CHECK(skep_map_event_fd(ring) >= 0);
    skep_map_free(map);
    skep_map_free(ring);
    skep_program_free(program);
}

int main(int argc, char** argv) {
    CHECK(skep_abi_version() == SKEP_ABI_VERSION);
    check_errors();
    check_helpers(SKEP_MODE_VERIFIED);
    check_helpers(SKEP_MODE_SANDBOX);
    if (argc > 1) check_object(argv[1]);
    if (failures != 0) fprintf(stderr, "%d checks failed\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
