// The objects that tests/corpus.py collected.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace skep::test {

// Those under `root`, or under $SKEP_CORPUS: the larger set that `corpus.py --long` makes.
inline std::vector<std::string> corpus(std::string root) {
    if (const char* other = std::getenv("SKEP_CORPUS")) root = other;
    std::vector<std::string> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root, error))
        if (entry.path().extension() == ".o") files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
}

// Values for the configuration externs of the corpus.
inline constexpr const char* kKconfig =
    "CONFIG_HZ=250\nCONFIG_BPF_JIT=y\nCONFIG_MODULES=y\nCONFIG_LOCALVERSION=\"-test\"\n"
    "CONFIG_BPF_SYSCALL=y\nCONFIG_TRISTATE=m\nCONFIG_BOOL=y\nCONFIG_CHAR=100\nCONFIG_USHORT=30000\n"
    "CONFIG_INT=123456\nCONFIG_ULONG=0xDEADBEEFC0DE\nCONFIG_STR=\"abracad\"\n"
    "CONFIG_DEFAULT_HOSTNAME=\"host\"\nCONFIG_BLK_CGROUP_IOCOST=y\nCONFIG_X86_64=y\n"
    "CONFIG_TCP_CONG_CUBIC=y\nCONFIG_ARCH_HAS_SYSCALL_WRAPPER=y\n";

}  // namespace skep::test
