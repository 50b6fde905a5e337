// Decodes 1 KiB as UTF-8, counting characters and errors.
#include "kernel.h"
KERNEL(utf8) {
    u32 need = 0, chars = 0, errors = 0, value = 0, sum = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i++) {
        const u8 c = mem[i];
        if (need) {
            if ((c & 0xc0) == 0x80) {
                value = value << 6 | (c & 0x3f);
                if (--need == 0) { chars++; sum += value; }
                continue;
            }
            errors++;
            need = 0;
        }
        if (c < 0x80) { chars++; sum += c; }
        else if ((c & 0xe0) == 0xc0) { need = 1; value = c & 0x1f; }
        else if ((c & 0xf0) == 0xe0) { need = 2; value = c & 0x0f; }
        else if ((c & 0xf8) == 0xf0) { need = 3; value = c & 0x07; }
        else errors++;
    }
    return (u64)chars << 32 | (errors + sum);
}
