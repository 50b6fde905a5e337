// Named memory that several processes map, and marks on it that say who is still there.
#pragma once

#include <cstddef>
#include <string>

#include <skep/error.hpp>

namespace skep::os {

// One attachment; detached on destruction. Move-only.
class SharedMemory {
public:
    SharedMemory() = default;
    SharedMemory(SharedMemory&& other) noexcept;
    SharedMemory& operator=(SharedMemory&& other) noexcept;
    ~SharedMemory();

    // `size` bytes of zeroes under a name that must be free.
    static Result<SharedMemory> create(const std::string& name, size_t size);
    static Result<SharedMemory> open(const std::string& name);
    static Result<void> remove(const std::string& name);

    std::byte* data() const noexcept { return data_; }
    size_t size() const noexcept { return size_; }

    // Marks are numbers. One that is taken belongs to this attachment until it ends, however its
    // process ends. False: another attachment has it.
    bool take_mark(unsigned number) noexcept;
    // Whether another attachment has it.
    bool is_marked(unsigned number) const noexcept;

private:
    SharedMemory(int fd, std::byte* data, size_t size) : fd_(fd), data_(data), size_(size) {}
    static Result<SharedMemory> map(int fd, size_t size);

    int fd_ = -1;
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace skep::os
