#include "tools/kernel_config.hpp"

#include <string_view>
#include <sys/utsname.h>
#include <zlib.h>

#include "tools/slots.hpp"
#include "vm/base/try.hpp"

namespace skep::tool {
namespace {

constexpr size_t kMaxText = size_t{16} << 20;
constexpr std::string_view kGzipMagic = "\x1f\x8b";

Result<std::string> unzip(std::string& packed, const std::string& path) {
    z_stream stream{};
    constexpr int kGzipOnly = 16;
    if (inflateInit2(&stream, kGzipOnly + MAX_WBITS) != Z_OK)
        return fail(ErrorCode::OutOfMemory, "'" + path + "': no memory to decompress it");
    stream.next_in = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_in = static_cast<uInt>(packed.size());
    std::string text;
    char block[16384];
    int status = Z_OK;
    while (status == Z_OK && text.size() <= kMaxText) {
        stream.next_out = reinterpret_cast<Bytef*>(block);
        stream.avail_out = sizeof block;
        status = inflate(&stream, Z_NO_FLUSH);
        text.append(block, sizeof block - stream.avail_out);
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END)
        return fail(ErrorCode::InvalidArgument,
                    "'" + path + "' is no complete gzip file of at most 16 MiB of text");
    return text;
}

}  // namespace

Result<std::string> read_kernel_config(const std::string& path) {
    SKEP_TRY(std::string text, read_input(path, kMaxText));
    if (!text.starts_with(kGzipMagic)) return text;
    return unzip(text, path);
}

std::string running_kernel_config() {
    utsname kernel{};
    if (uname(&kernel) != 0) return {};
    for (const std::string& path :
         {std::string("/boot/config-") + kernel.release, std::string("/proc/config.gz")})
        if (auto text = read_kernel_config(path)) return *std::move(text);
    return {};
}

}  // namespace skep::tool
