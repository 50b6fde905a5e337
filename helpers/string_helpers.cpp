// Strings and numbers, and printing.
#include <algorithm>
#include <cctype>
#include <cstring>

#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/print_format.hpp"

namespace skep::helper {

namespace {

// A format and its values, copied: other threads cannot change them after they were checked.
struct PrintJob {
    char format[kMaxPrinted];
    size_t format_size = 0;
    uint64_t values[kMaxPrintValues] = {};
    size_t value_count = 0;
};

bool take_format(PrintJob& job, const std::byte* format, uint64_t size) {
    const uint64_t copied = std::min<uint64_t>(size, sizeof job.format);
    std::memcpy(job.format, format, copied);
    const void* nul = std::memchr(job.format, 0, copied);
    if (nul == nullptr) return false;
    job.format_size = static_cast<size_t>(static_cast<const char*>(nul) - job.format);
    return true;
}

bool take_values(PrintJob& job, const std::byte* values, uint64_t size) {
    if (size % 8 != 0 || size > sizeof job.values || (size != 0 && values == nullptr)) return false;
    if (size != 0) std::memcpy(job.values, values, size);
    job.value_count = size / 8;
    return true;
}

int64_t print_line(HelperEnv& env, const PrintJob& job) {
    char line[kMaxPrinted];
    if (!env.charge(1)) return 0;
    const int64_t length =
        print_format(env, {job.format, job.format_size}, {job.values, job.value_count}, line);
    if (length < 0) return length;
    std::string_view text(line, std::min<size_t>(static_cast<size_t>(length), sizeof line - 1));
    if (env.services != nullptr && env.services->trace) {
        if (text.ends_with('\n')) text.remove_suffix(1);
        env.services->trace(text);
    }
    return length;
}

void write_seq(const HelperEnv& env, const char* text, size_t size) {
    if (env.services != nullptr && env.services->seq)
        env.services->seq(std::as_bytes(std::span(text, size)));
}

// What Linux's strtol and strtoul share. Returns the bytes consumed or an errno.
int64_t parse_number(ReadMem text, uint64_t flags, uint64_t& magnitude, bool& negative) {
    constexpr uint64_t kBaseMask = 0x1f;
    uint64_t base = flags & kBaseMask;
    if ((flags & ~kBaseMask) != 0) return kEinval;
    if (base != 0 && base != 8 && base != 10 && base != 16) return kEinval;
    // Linux looks at no more than 63 characters behind the sign.
    constexpr uint64_t kLongest = 63;
    const auto at = [&](uint64_t i) { return static_cast<unsigned char>(text.data[i]); };
    uint64_t begin = 0;
    while (begin < text.size && std::isspace(at(begin))) ++begin;
    negative = begin < text.size && at(begin) == '-';
    if (negative) ++begin;
    if (begin == text.size) return kEinval;
    const uint64_t end = std::min(text.size, begin + kLongest);
    uint64_t i = begin;
    const bool has_prefix = i + 1 < end && at(i) == '0' && (at(i + 1) | 0x20) == 'x';
    if (base == 0) {
        if (at(i) != '0')
            base = 10;
        else
            base = has_prefix && i + 2 < end && std::isxdigit(at(i + 2)) ? 16 : 8;
    }
    if (base == 16 && has_prefix) i += 2;
    magnitude = 0;
    bool overflow = false;
    const uint64_t first_digit = i;
    for (; i < end; ++i) {
        const unsigned c = at(i) | 0x20u;
        const unsigned digit = std::isdigit(at(i))    ? at(i) - '0'
                               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                      : 16;
        if (digit >= base) break;
        uint64_t scaled = 0;
        overflow |= __builtin_mul_overflow(magnitude, base, &scaled);
        overflow |= __builtin_add_overflow(scaled, uint64_t{digit}, &magnitude);
    }
    if (i == first_digit) return kEinval;
    return overflow ? kErange : static_cast<int64_t>(i);
}

}  // namespace

int64_t trace_printk(HelperEnv& env, ReadMem format, uint64_t a, uint64_t b, uint64_t c) noexcept {
    PrintJob job;
    if (!take_format(job, format.data, format.size)) return kEinval;
    job.values[0] = a;
    job.values[1] = b;
    job.values[2] = c;
    job.value_count = 3;
    return print_line(env, job);
}

int64_t trace_vprintk(HelperEnv& env, ReadMem format, ReadMemOrNull values) noexcept {
    PrintJob job;
    if (!take_values(job, values.data, values.size)) return kEinval;
    if (!take_format(job, format.data, format.size)) return kEinval;
    return print_line(env, job);
}

int64_t seq_printf(HelperEnv& env, BtfArg<ObjectKind::SeqFile>, ReadMem format,
                   ReadMemOrNull values) noexcept {
    constexpr int64_t kEoverflow = -75;
    PrintJob job;
    char text[kMaxPrinted];
    if (!take_values(job, values.data, values.size)) return kEinval;
    if (!take_format(job, format.data, format.size)) return kEinval;
    if (!env.charge(1)) return 0;
    const int64_t length =
        print_format(env, {job.format, job.format_size}, {job.values, job.value_count}, text);
    if (length < 0) return length;
    write_seq(env, text, std::min<size_t>(static_cast<size_t>(length), sizeof text - 1));
    return static_cast<size_t>(length) < sizeof text ? 0 : kEoverflow;
}

int64_t seq_write(HelperEnv& env, BtfArg<ObjectKind::SeqFile>, ReadMemOrEmpty data) noexcept {
    if (!env.charge(1 + data.size / 4096)) return 0;
    write_seq(env, reinterpret_cast<const char*>(data.data), data.size);
    return 0;
}

// Returns the length of the whole text with its NUL, also when it was cut.
int64_t snprintf(HelperEnv& env, WriteMemOrNull out, ConstStr format,
                 ReadMemOrNull values) noexcept {
    PrintJob job;
    if (!env.charge(1 + out.size / 4096)) return 0;
    if (!take_values(job, values.data, values.size)) return kEinval;
    const std::string_view text(format.text);
    const std::span<char> target(reinterpret_cast<char*>(out.data),
                                 out.data == nullptr ? 0 : out.size);
    const int64_t length = print_format(env, text, {job.values, job.value_count}, target);
    return length < 0 ? length : length + 1;
}

int64_t strncmp(HelperEnv&, ReadMem text, ConstStr constant) noexcept {
    for (uint64_t i = 0; i < text.size; ++i) {
        const auto a = static_cast<unsigned char>(text.data[i]);
        const auto b = static_cast<unsigned char>(constant.text[i]);
        if (a != b) return a < b ? -1 : 1;
        if (a == 0) break;
    }
    return 0;
}

int64_t strtol(HelperEnv&, ReadMem text, uint64_t flags, Out<int64_t> result) noexcept {
    *result.value = 0;
    uint64_t magnitude = 0;
    bool negative = false;
    const int64_t consumed = parse_number(text, flags, magnitude, negative);
    if (consumed < 0) return consumed;
    const uint64_t limit = (uint64_t{1} << 63) - (negative ? 0 : 1);
    if (magnitude > limit) return kErange;
    *result.value = static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
    return consumed;
}

int64_t strtoul(HelperEnv&, ReadMem text, uint64_t flags, Out<uint64_t> result) noexcept {
    *result.value = 0;
    uint64_t magnitude = 0;
    bool negative = false;
    const int64_t consumed = parse_number(text, flags, magnitude, negative);
    if (consumed < 0) return consumed;
    if (negative) return kEinval;
    *result.value = magnitude;
    return consumed;
}

}  // namespace skep::helper

namespace skep::kfunc {

// Standard output and standard error of the program: both lead to the host's trace.
int32_t bpf_stream_vprintk_impl(HelperEnv& env, int32_t stream, ConstStr format,
                                ReadMemOrNull values) noexcept {
    constexpr int32_t kOut = 1, kErr = 2;
    if (stream != kOut && stream != kErr) return helper::kEnoent;
    const ReadMem text{reinterpret_cast<const std::byte*>(format.text),
                       std::strlen(format.text) + 1};
    const int64_t result = helper::trace_vprintk(env, text, values);
    return result < 0 ? static_cast<int32_t>(result) : 0;
}

}  // namespace skep::kfunc
