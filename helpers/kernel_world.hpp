// Synthetic kernel objects: what a tracing program finds behind bpf_get_current_task(), laid out by
// the BTF of the system that the program was built or relocated for.
//
// A KernelWorld is made once per Vm from that BTF. It is an image of kernel memory: the current
// task, its leader and parent, credentials, namespaces, files, directory entries, cgroups and
// registers, linked to each other by addresses in the kernel's half. Every run area has a copy, in
// which the fields that depend on the run (pid, comm, ids) are filled in when the run first asks.
// Programs reach it through probe_read and typed loads, by look-up; there is no host memory behind
// its addresses, and nothing writes to it but fill().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <skep/services.hpp>

namespace skep {

class Btf;

// Offsets that helpers read in objects of the kernel's, the host's published ones included.
struct KernelOffsets {
    std::optional<uint32_t> task_pid, task_tgid;                    // task_struct
    std::optional<uint32_t> inode_ino;                              // inode.i_ino
    std::optional<uint32_t> cgroup_kn, kn_id;                       // cgroup.kn, kernfs_node.id
    std::optional<uint32_t> cgroup_level, cgroup_self;              // cgroup.level, .self
    std::optional<uint32_t> state_cgroup;                           // cgroup_subsys_state.cgroup
    std::optional<uint32_t> file_path, file_inode;                  // file.f_path, f_inode
    std::optional<uint32_t> path_mnt, path_dentry;                  // path
    std::optional<uint32_t> dentry_name, dentry_parent, qstr_name;  // dentry.d_name, .name
    std::optional<uint32_t> mnt_root;                               // vfsmount
    std::optional<uint32_t> vma_start, vma_end;                     // vm_area_struct
    std::optional<uint32_t> mm_exe_file, task_mm;                   // mm_struct, task_struct
    // bpf_map
    std::optional<uint32_t> map_type, map_key_size, map_value_size, map_max_entries, map_flags,
        map_id;
    uint32_t map_bytes = 0;
};

class KernelWorld {
public:
    // Never null. Structs that the types lack are left out; without task_struct, task() is 0.
    static std::shared_ptr<const KernelWorld> create(std::shared_ptr<const Btf> btf);

    static constexpr uint64_t kBase = 0xffff'8880'0001'0000;

    const Btf& btf() const noexcept { return *btf_; }
    const KernelOffsets& offsets() const noexcept { return offsets_; }
    uint64_t size() const noexcept { return image_.size(); }
    // Addresses of objects; 0 where the types lack them.
    uint64_t task() const noexcept { return task_; }
    uint64_t registers() const noexcept { return registers_; }
    uint64_t file() const noexcept { return file_; }
    uint64_t vma() const noexcept { return vma_; }
    // The tasks that there are, each once; those whose numbers are the same are one task. The first
    // is the parent, the last the current one.
    std::span<const uint64_t> tasks() const noexcept { return tasks_; }
    uint64_t root_cgroup() const noexcept { return root_cgroup_; }
    // The current task's, where that is not the root.
    uint64_t own_cgroup() const noexcept { return own_cgroup_; }
    // An object of a struct type, 0 if there is none: what stands for a kernel's own when a
    // program is run without one.
    uint64_t object(std::string_view type) const noexcept;
    // An object that says nothing, for an argument of whatever type.
    uint64_t blank(uint32_t argument) const noexcept {
        return blank_ != 0 && argument < kBlanks ? blank_ + uint64_t{argument} * kBlankBytes : 0;
    }
    // Where the kernel's view of a context goes: kernel_context.hpp.
    uint64_t context_area() const noexcept { return context_; }
    uint64_t device_area() const noexcept { return device_; }
    static constexpr uint32_t kContextBytes = 4096, kDeviceBytes = 8192;
    // The same of sockets, a few of which a program may have at a time.
    uint64_t socket_area(uint32_t index) const noexcept {
        return sockets_ == 0 ? 0 : sockets_ + uint64_t{index % kSockets} * kSocketBytes;
    }
    static constexpr uint32_t kSocketBytes = 4096, kSockets = 4;
    static constexpr uint32_t kBlankBytes = 4096, kBlanks = 6;

    bool contains(uint64_t address, uint64_t size) const noexcept {
        return address >= kBase && address - kBase < image_.size() &&
               size <= image_.size() - (address - kBase);
    }

    // A fresh copy of the image; `block` has size() bytes.
    void copy(std::span<std::byte> block) const noexcept;
    // Writes what depends on the run.
    void fill(std::span<std::byte> block, const Services::Task& task, uint64_t cgroup,
              uint32_t cpu) const noexcept;

private:
    friend class WorldBuilder;
    // What of a run goes where.
    enum class Source : uint8_t {
        Pid,
        Tgid,
        Ppid,
        Uid,
        Gid,
        Comm,
        Cgroup,
        Cpu,
        Leader,
        CgroupNode,   // address of the current task's cgroup
        CgroupState,  // of its state
    };
    struct Patch {
        Source source{};
        uint8_t size = 0;  // bytes
        uint32_t at = 0;   // offset in the image
    };

    std::shared_ptr<const Btf> btf_;
    KernelOffsets offsets_;
    std::vector<std::byte> image_;
    std::vector<Patch> patches_;
    struct Named {
        std::string_view type;
        uint64_t address = 0;
    };
    std::vector<Named> named_;
    uint64_t task_ = 0, leader_ = 0, registers_ = 0, file_ = 0, vma_ = 0;
    uint64_t tasks_[3] = {};
    uint64_t root_cgroup_ = 0, own_cgroup_ = 0, context_ = 0, device_ = 0, blank_ = 0;
    uint64_t sockets_ = 0;
};

}  // namespace skep
