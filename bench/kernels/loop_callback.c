// bpf_loop with 256 rounds of a small callback.
#include "maps.h"
struct state {
    u64 sum;
};
FUNCTION long body(u32 i, void* context) {
    struct state* state = context;
    state->sum = (state->sum << 1 ^ i) + 7;
    return 0;
}
KERNEL(loop_callback) {
    struct state state = {1};
    loop(256, (void*)body, &state, 0);
    return state.sum;
}
