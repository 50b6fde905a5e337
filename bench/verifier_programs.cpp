#include "bench/verifier_programs.hpp"

namespace skep::bench {
namespace {

std::string text_of(int n) { return std::to_string(n); }

// A loop that counts in a register.
std::string counting(int rounds) {
    return "r1 = 0\nagain:\nr1 += 1\nif r1 < " + text_of(rounds) + " goto again\nr0 = 0\nexit\n";
}

std::string nested(int outer, int inner) {
    return "r1 = 0\nouter:\nr2 = 0\ninner:\nr2 += 1\nif r2 < " + text_of(inner) +
           " goto inner\nr1 += 1\nif r1 < " + text_of(outer) + " goto outer\nr0 = 0\nexit\n";
}

// Diamonds whose ways add different numbers to an offset that must stay in the frame.
std::string diamonds(int count) {
    std::string out = "r6 = r1\nr7 = 0\nr8 = *(u32 *)(r6 + 0)\n";
    for (int i = 0; i < count; ++i) {
        const std::string label = "join" + text_of(i);
        out += "r9 = r8\nr9 >>= " + text_of(i) + "\nr9 &= 1\nif r9 == 0 goto " + label +
               "\nr7 += " + text_of(1 << i) + "\n" + label + ":\n";
    }
    return out +
           "r7 &= 63\nr1 = r10\nr1 += -64\nr1 += r7\nr2 = 0\n*(u8 *)(r1 + 0) = r2\nr0 = 0\nexit\n";
}

// Many branches over a full frame of spilled numbers of which nothing matters.
std::string wide_frame(int count) {
    std::string out = "r6 = r1\n";
    for (int at = 8; at <= 256; at += 8)
        out += "r0 = *(u32 *)(r6 + 0)\n*(u64 *)(r10 - " + text_of(at) + ") = r0\n";
    for (int i = 0; i < count; ++i) {
        const std::string label = "next" + text_of(i);
        out += "r1 = *(u64 *)(r10 - " + text_of(8 * (1 + i % 32)) + ")\nif r1 > " + text_of(i) +
               " goto " + label + "\nr1 += 1\n*(u64 *)(r10 - " + text_of(8 * (1 + i % 31)) +
               ") = r1\n" + label + ":\n";
    }
    for (int at = 8; at <= 256; at += 8)
        out += "r1 = *(u64 *)(r10 - " + text_of(at) + ")\nr0 += r1\n";
    return "r0 = 0\n" + out + "r0 = 0\nexit\n";
}

// A table of what a byte may be, as a switch makes one: a long chain of comparisons.
std::string chain(int count) {
    std::string out = "r6 = *(u32 *)(r1 + 0)\nr0 = 0\n";
    for (int i = 0; i < count; ++i) {
        const std::string label = "case" + text_of(i);
        out += "if r6 != " + text_of(i) + " goto " + label + "\nr0 += " + text_of(i) + "\n" +
               label + ":\n";
    }
    return out + "r0 = 0\nexit\n";
}

}  // namespace

std::vector<HardProgram> hard_programs() {
    return {
        {"count 300000", counting(300'000)}, {"nested 300x500", nested(300, 500)},
        {"diamonds 14", diamonds(14)},       {"wide frame 60", wide_frame(60)},
        {"chain 800", chain(800)},
    };
}

}  // namespace skep::bench
