#include "vm/base/shared_memory.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace skep::os {
namespace {

std::unexpected<Error> refused(const std::string& name, const char* what) {
    const int error = errno;
    return fail(error == ENOENT ? ErrorCode::NotFound : ErrorCode::Os,
                "shared memory " + name + ": " + what + ": " + std::strerror(error));
}

// A lock of this open file on one byte, which ends with the attachment. The bytes need not exist.
struct flock on_byte(unsigned number) noexcept {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = number;
    lock.l_len = 1;
    return lock;
}

}  // namespace

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

SharedMemory::~SharedMemory() {
    if (data_ != nullptr) ::munmap(data_, size_);
    if (fd_ >= 0) ::close(fd_);
}

Result<SharedMemory> SharedMemory::map(int fd, size_t size) {
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        const int error = errno;
        ::close(fd);
        return fail(ErrorCode::Os, std::string("shared memory: mmap: ") + std::strerror(error));
    }
    return SharedMemory(fd, static_cast<std::byte*>(data), size);
}

Result<SharedMemory> SharedMemory::create(const std::string& name, size_t size) {
    const int fd = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return refused(name, "shm_open");
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0) {
        auto error = refused(name, "ftruncate");
        ::close(fd);
        ::shm_unlink(name.c_str());
        return error;
    }
    auto made = map(fd, size);
    if (!made) ::shm_unlink(name.c_str());
    return made;
}

Result<SharedMemory> SharedMemory::open(const std::string& name) {
    const int fd = ::shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return refused(name, "shm_open");
    struct stat info{};
    if (::fstat(fd, &info) != 0 || info.st_size <= 0) {
        ::close(fd);
        return fail(ErrorCode::BadMapDef, "shared memory " + name + " is empty");
    }
    return map(fd, static_cast<size_t>(info.st_size));
}

Result<void> SharedMemory::remove(const std::string& name) {
    if (::shm_unlink(name.c_str()) != 0) return refused(name, "shm_unlink");
    return {};
}

bool SharedMemory::take_mark(unsigned number) noexcept {
    struct flock lock = on_byte(number);
    return ::fcntl(fd_, F_OFD_SETLK, &lock) == 0;
}

bool SharedMemory::is_marked(unsigned number) const noexcept {
    struct flock lock = on_byte(number);
    // What cannot be asked is taken for alive.
    return ::fcntl(fd_, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace skep::os
