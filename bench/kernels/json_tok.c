// Counts the tokens of JSON-like text; the text is made from the input bytes first.
#include "kernel.h"
KERNEL(json_tok) {
    u8* text = mem + HALF;
    NO_UNROLL for (u32 i = 0; i < 512; i++) {
        const u32 r = mem[i] & 31;
        u8 c = 'a' + (r & 7);
        if (r < 2) c = '{';
        else if (r < 4) c = '}';
        else if (r < 6) c = '"';
        else if (r == 6) c = ':';
        else if (r == 7) c = ',';
        else if (r < 12) c = ' ';
        else if (r < 18) c = '0' + (r - 12);
        text[i] = c;
    }
    u32 objects = 0, strings = 0, numbers = 0, words = 0, depth = 0, state = 0;
    NO_UNROLL for (u32 i = 0; i < 512; i++) {
        const u8 c = text[i];
        if (state == 1) {
            if (c == '"') state = 0;
            continue;
        }
        if (c == '"') { state = 1; strings++; continue; }
        if (c == '{') { depth++; objects++; state = 0; continue; }
        if (c == '}') { if (depth) depth--; state = 0; continue; }
        if (c >= '0' && c <= '9') { if (state != 2) numbers++; state = 2; continue; }
        if (c >= 'a' && c <= 'z') { if (state != 3) words++; state = 3; continue; }
        state = 0;
    }
    return (u64)objects << 48 | (u64)strings << 32 | (u64)numbers << 16 | words << 4 | (depth & 15);
}
