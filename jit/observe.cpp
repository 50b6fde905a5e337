#include "jit/observe.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <fcntl.h>
#include <mutex>
#include <sys/stat.h>
#include <unistd.h>

// GDB's JIT interface (GDB manual, "JIT Compilation Interface"): a debugger puts a breakpoint on
// the function and reads the list when it is called. The two names are fixed by it; weak, since
// other JITs of the process define them too.
extern "C" {
struct jit_code_entry {
    jit_code_entry* next_entry;
    jit_code_entry* prev_entry;
    const char* symfile_addr;
    uint64_t symfile_size;
};
struct jit_descriptor {
    uint32_t version;
    uint32_t action_flag;
    jit_code_entry* relevant_entry;
    jit_code_entry* first_entry;
};
[[gnu::weak, gnu::visibility("default")]] jit_descriptor __jit_debug_descriptor = {1, 0, nullptr,
                                                                                   nullptr};
[[gnu::weak, gnu::noinline, gnu::visibility("default")]] void __jit_debug_register_code() {
    asm volatile("" ::: "memory");
}
}

namespace skep::jit {

namespace {

enum Action : uint32_t { kRegister = 1, kUnregister = 2 };

constinit std::mutex list_lock;  // guards the debugger's list against this library's own threads

// Control characters and blanks end a name in perf's format.
std::string plain(const std::string& name) {
    std::string out = name;
    for (char& c : out) {
        if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) c = '_';
    }
    return out;
}

size_t append(std::vector<std::byte>& out, const void* data, size_t size) {
    const size_t at = out.size();
    out.resize((at + size + 7) & ~size_t{7});
    std::memcpy(out.data() + at, data, size);
    return at;
}

template <class T>
size_t append(std::vector<std::byte>& out, const T& value) {
    static_assert(sizeof(T) % 8 == 0);
    return append(out, &value, sizeof(T));
}

Elf64_Shdr section(uint32_t name, uint32_t type, uint64_t offset, uint64_t size) {
    Elf64_Shdr header{};
    header.sh_name = name;
    header.sh_type = type;
    header.sh_offset = offset;
    header.sh_size = size;
    header.sh_addralign = 8;
    return header;
}

Elf64_Ehdr file_header() {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_REL;
#if defined(__aarch64__)
    header.e_machine = EM_AARCH64;
#else
    header.e_machine = EM_X86_64;
#endif
    header.e_version = EV_CURRENT;
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 5;
    header.e_shstrndx = 4;
    return header;
}

// A relocatable object whose .text has no bytes of its own but stands where the code is.
std::vector<std::byte> object_of(std::span<const CodeSymbol> symbols) {
    std::vector<std::byte> out;
    Elf64_Ehdr header = file_header();
    append(out, header);
    uintptr_t low = UINTPTR_MAX, high = 0;
    for (const CodeSymbol& s : symbols) {
        low = std::min(low, s.address);
        high = std::max(high, s.address + s.size);
    }
    if (symbols.empty()) low = high = 0;

    std::string names(1, '\0');
    std::vector<Elf64_Sym> table(1);
    for (const CodeSymbol& s : symbols) {
        Elf64_Sym symbol{};
        symbol.st_name = static_cast<uint32_t>(names.size());
        symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
        symbol.st_shndx = 1;
        symbol.st_value = s.address - low;
        symbol.st_size = s.size;
        table.push_back(symbol);
        names += s.name + '\0';
    }
    const size_t symtab = out.size();
    for (const Elf64_Sym& symbol : table) append(out, symbol);
    const size_t strtab = append(out, names.data(), names.size());
    const std::string section_names("\0.text\0.symtab\0.strtab\0.shstrtab\0", 33);
    const size_t shstrtab = append(out, section_names.data(), section_names.size());

    Elf64_Shdr text = section(1, SHT_NOBITS, 0, high - low);
    text.sh_flags = SHF_ALLOC | SHF_EXECINSTR;
    text.sh_addr = low;
    Elf64_Shdr symbols_header = section(7, SHT_SYMTAB, symtab, table.size() * sizeof(Elf64_Sym));
    symbols_header.sh_link = 3;
    symbols_header.sh_info = 1;
    symbols_header.sh_entsize = sizeof(Elf64_Sym);
    header.e_shoff = append(out, Elf64_Shdr{});
    append(out, text);
    append(out, symbols_header);
    append(out, section(15, SHT_STRTAB, strtab, names.size()));
    append(out, section(23, SHT_STRTAB, shstrtab, section_names.size()));
    std::memcpy(out.data(), &header, sizeof(header));
    return out;
}

}  // namespace

std::string perf_map_name() { return "/tmp/perf-" + std::to_string(::getpid()) + ".map"; }

bool append_perf_map(std::span<const CodeSymbol> symbols) noexcept {
    try {
        std::string lines;
        for (const CodeSymbol& s : symbols) {
            char numbers[48];
            std::snprintf(numbers, sizeof(numbers), "%llx %llx ",
                          static_cast<unsigned long long>(s.address),
                          static_cast<unsigned long long>(s.size));
            lines += numbers + plain(s.name) + "\n";
        }
        // The directory is everybody's: never through a link, never into another user's file.
        const int fd = ::open(perf_map_name().c_str(),
                              O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0) return false;
        struct stat info{};
        const bool usable = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                            info.st_uid == ::geteuid() && info.st_nlink == 1;
        const bool written =
            usable && ::write(fd, lines.data(), lines.size()) == static_cast<ssize_t>(lines.size());
        ::close(fd);
        return written;
    } catch (...) {
        errno = ENOMEM;
        return false;
    }
}

struct GdbObject::Entry : jit_code_entry {};

GdbObject::GdbObject(std::span<const CodeSymbol> symbols)
    : file_(object_of(symbols)), entry_(std::make_unique<Entry>()) {
    const std::lock_guard lock(list_lock);
    jit_descriptor& list = __jit_debug_descriptor;
    entry_->symfile_addr = reinterpret_cast<const char*>(file_.data());
    entry_->symfile_size = file_.size();
    entry_->prev_entry = nullptr;
    entry_->next_entry = list.first_entry;
    if (list.first_entry != nullptr) list.first_entry->prev_entry = entry_.get();
    list.first_entry = entry_.get();
    list.relevant_entry = entry_.get();
    list.action_flag = kRegister;
    __jit_debug_register_code();
}

GdbObject::~GdbObject() {
    const std::lock_guard lock(list_lock);
    jit_descriptor& list = __jit_debug_descriptor;
    if (entry_->prev_entry != nullptr)
        entry_->prev_entry->next_entry = entry_->next_entry;
    else
        list.first_entry = entry_->next_entry;
    if (entry_->next_entry != nullptr) entry_->next_entry->prev_entry = entry_->prev_entry;
    list.relevant_entry = entry_.get();
    list.action_flag = kUnregister;
    __jit_debug_register_code();
}

}  // namespace skep::jit
