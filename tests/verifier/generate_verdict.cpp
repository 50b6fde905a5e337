#include "tests/verifier/generate_verdict.hpp"

#include <array>

namespace skep::test {
namespace {

class Generator {
public:
    explicit Generator(uint64_t seed) : random_(seed) {}

    Generated run() {
        const bool xdp = pick(3) == 0;
        line("r9 = r1");
        line("r6 = 0");
        line("*(u64 *)(r10 - 8) = r6");
        line("r1 = map[0] ll");
        line("r2 = r10");
        line("r2 += -8");
        line("call bpf_map_lookup_elem");
        line("if r0 == 0 goto out");
        line("r8 = r0");
        source("r6");
        source("r7");
        const unsigned count = 2 + pick(9);
        for (unsigned i = 0; i < count; ++i) statement(xdp);
        access(xdp);
        line("out:");
        line("r0 = 0");
        line("exit");
        return {xdp ? "xdp" : "socket_filter", text_};
    }

private:
    unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }
    void line(const std::string& text) { text_ += text + "\n"; }
    std::string scalar() { return pick(2) == 0 ? "r6" : "r7"; }
    static std::string narrow(const std::string& reg) { return "w" + reg.substr(1); }

    std::string constant() {
        constexpr std::array<int64_t, 22> kValues = {0,  1,  2,    3,    4,      7,         8,  15,
                                                     16, 31, 32,   40,   47,     48,        63, 64,
                                                     -1, -8, 0x7f, 0xff, 0xffff, 0x7fffffff};
        return std::to_string(kValues[pick(kValues.size())]);
    }

    void source(const std::string& reg) {
        constexpr std::array<const char*, 6> kLoads = {"*(u8 *)(r8 + 0)",  "*(u16 *)(r8 + 2)",
                                                       "*(u32 *)(r8 + 4)", "*(u64 *)(r8 + 8)",
                                                       "*(s8 *)(r8 + 1)",  "*(s32 *)(r8 + 12)"};
        line(reg + " = " + kLoads[pick(kLoads.size())]);
    }

    void alu() {
        constexpr std::array<const char*, 9> kOps = {
            "+=", "-=", "&=", "|=", "^=", "*=", "<<=", ">>=", "s>>="};
        const unsigned op = pick(kOps.size());
        const bool shift = op >= 6;
        const bool w = pick(3) == 0;
        const std::string dst = w ? narrow(scalar()) : scalar();
        std::string src = shift ? std::to_string(pick(w ? 32 : 64)) : constant();
        if (!shift && pick(4) == 0) src = w ? narrow(scalar()) : scalar();
        line(dst + " " + kOps[op] + " " + src);
    }

    void branch() {
        constexpr std::array<const char*, 11> kConds = {
            "==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"};
        const bool w = pick(3) == 0;
        const std::string dst = w ? narrow(scalar()) : scalar();
        std::string src = constant();
        // Never a register with itself: Linux narrows such a register to nonsense.
        const char other = dst.back() == '6' ? '7' : '6';
        if (pick(5) == 0) src = dst.substr(0, 1) + other;
        line("if " + dst + " " + kConds[pick(kConds.size())] + " " + src + " goto out");
    }

    void diamond() {
        const std::string label = "l" + std::to_string(labels_++);
        line("if " + scalar() + " > " + constant() + " goto " + label);
        alu();
        line(label + ":");
    }

    void statement(bool xdp) {
        switch (pick(12)) {
            case 0:
            case 1: alu(); break;
            case 2:
            case 3:
            case 4: branch(); break;
            case 5: line("r6 = r7"); break;
            case 6: line(pick(2) == 0 ? "w6 = w7" : "w7 = w6"); break;
            case 7: {
                const std::string off = std::to_string(16 + 8 * pick(2));
                line("*(u64 *)(r10 - " + off + ") = " + scalar());
                if (pick(2) == 0) branch();
                line(scalar() + " = *(u64 *)(r10 - " + off + ")");
                break;
            }
            case 8: {
                const unsigned store = pick(3), load = pick(3);
                constexpr std::array<const char*, 3> kWidths = {"u8", "u16", "u32"};
                line(std::string("*(") + kWidths[store] + " *)(r10 - 32) = " + scalar());
                line(scalar() + " = *(" + kWidths[load] + " *)(r10 - 32)");
                break;
            }
            case 9: diamond(); break;
            case 10: {
                constexpr std::array<const char*, 5> kExtend = {"(s8)", "(s16)", "(s32)", "(s8)",
                                                                "(s16)"};
                line("r6 = " + std::string(kExtend[pick(3)]) + "r7");
                break;
            }
            case 11: loop(); break;
        }
        (void)xdp;
    }

    void loop() {
        const std::string label = "l" + std::to_string(labels_++);
        line("r5 = 0");
        line(label + ":");
        line("r5 += 1");
        if (pick(2) == 0) alu();
        line("if r5 < " + std::to_string(2 + pick(6)) + " goto " + label);
    }

    void access(bool xdp) {
        switch (pick(xdp ? 4 : 3)) {
            case 0:
                line("r8 += " + scalar());
                line("r0 = *(u8 *)(r8 + " + std::to_string(pick(8)) + ")");
                break;
            case 1:
                line("r1 = r10");
                line("r1 += -" + std::to_string(8 + 8 * pick(7)));
                line("r1 += " + scalar());
                line("*(u8 *)(r1 + 0) = 1");
                break;
            case 2:
                line("r8 += 8");
                line("r8 -= " + scalar());
                line("*(u8 *)(r8 + " + std::to_string(pick(16)) + ") = 1");
                break;
            case 3:
                line("r2 = *(u32 *)(r9 + 0)");
                line("r3 = *(u32 *)(r9 + 4)");
                if (pick(2) == 0) line("r2 += " + scalar());
                line("r4 = r2");
                line("r4 += " + std::to_string(1 + pick(20)));
                if (pick(3) == 0) line("r4 += " + scalar());
                line(pick(2) == 0 ? "if r4 > r3 goto out" : "if r3 <= r4 goto out");
                line("r0 = *(u8 *)(r2 + " + std::to_string(pick(20)) + ")");
                break;
        }
    }

    std::mt19937_64 random_;
    std::string text_;
    unsigned labels_ = 0;
};

}  // namespace

Generated generate_program(uint64_t seed) { return Generator(seed).run(); }

}  // namespace skep::test
