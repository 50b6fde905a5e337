// Laying out the synthetic kernel objects: see the header. Which members exist is the BTF's to say;
// what a version of Linux lacks is skipped.
#include "helpers/kernel_world.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <string>

#include "vm/btf/btf.hpp"
#include "vm/sync/slots.hpp"

namespace skep {

namespace {

constexpr uint32_t kAlign = 64;
constexpr uint64_t kMaxWorld = 1u << 20;  // bytes; types may come from anybody
// Inode numbers of the initial namespaces: include/linux/proc_ns.h.
constexpr uint64_t kIpcNs = 0xefffffff, kUtsNs = 0xeffffffe, kUserNs = 0xeffffffd,
                   kPidNs = 0xeffffffc, kCgroupNs = 0xeffffffb, kTimeNs = 0xeffffffa,
                   kNetNs = 0xf0000000, kMntNs = 0xf0000001;
constexpr uint32_t kStackBytes = 16 * 1024;
constexpr uint64_t kRootCgroup = 1;
constexpr uint64_t kDefaultPriority = 120;  // nice 0
constexpr uint64_t kDirectoryMode = 040755, kFileMode = 0100755;

std::optional<uint32_t> member_offset(const Btf& btf, std::string_view type,
                                      std::string_view member) {
    const uint32_t id = btf.find(type, BtfKind::Struct);
    if (id == 0) return std::nullopt;
    const auto found = btf.find_member(id, member);
    if (!found || found->bit_size != 0) return std::nullopt;
    return found->offset();
}

}  // namespace

// An object in the image. Empty (address 0) when its struct is not in the BTF.
struct WorldObject {
    uint32_t type = 0;
    uint32_t at = 0;  // offset in the image
    uint64_t address = 0;
    explicit operator bool() const { return address != 0; }
};

class WorldBuilder {
public:
    explicit WorldBuilder(KernelWorld& world) : world_(world), btf_(*world.btf_) {}

    void build() {
        make_offsets();
        make_files();
        make_namespaces();
        make_cgroup();
        make_memory();
        make_tasks();
        make_sockets();
        make_contexts();
    }

private:
    using Source = KernelWorld::Source;
    struct Place {
        uint32_t at = 0;  // offset in the image
        uint32_t size = 0;
    };

    uint64_t reserve(uint32_t bytes, uint32_t& at) {
        auto& image = world_.image_;
        at = static_cast<uint32_t>((image.size() + kAlign - 1) / kAlign * kAlign);
        if (at + uint64_t{bytes} > kMaxWorld) return 0;
        image.resize(at + uint64_t{bytes});
        return KernelWorld::kBase + at;
    }
    // `extra` bytes follow it: an array without a size at its end.
    WorldObject object(std::string_view name, uint32_t extra = 0) {
        WorldObject made;
        made.type = btf_.find(name, BtfKind::Struct);
        if (made.type == 0) return {};
        const uint64_t bytes = uint64_t{btf_.type(made.type).size()} + extra;
        if (bytes > kMaxWorld) return {};
        made.address = reserve(static_cast<uint32_t>(bytes), made.at);
        return made;
    }
    void name(std::string_view type, uint64_t address) {
        if (address != 0) world_.named_.push_back({type, address});
    }
    uint64_t text(std::string_view value) {
        uint32_t at = 0;
        const uint64_t address = reserve(static_cast<uint32_t>(value.size() + 1), at);
        if (address != 0) std::memcpy(world_.image_.data() + at, value.data(), value.size());
        return address;
    }

    // The member that `path` ("name.nodename") leads to, through members by value.
    std::optional<Place> place(const WorldObject& object, std::string_view path) const {
        if (!object) return std::nullopt;
        uint32_t type = object.type, at = object.at;
        while (true) {
            const size_t dot = path.find('.');
            const auto member = btf_.find_member(type, path.substr(0, dot));
            if (!member || member->bit_size != 0) return std::nullopt;
            at += member->offset();
            type = btf_.resolve(member->type);
            if (dot == std::string_view::npos) break;
            path.remove_prefix(dot + 1);
            if (!btf_.type(type).is_composite()) return std::nullopt;
        }
        return Place{at, btf_.size_of(type).value_or(0)};
    }
    uint64_t address_of(const WorldObject& object, std::string_view path) const {
        const auto found = place(object, path);
        return found ? KernelWorld::kBase + found->at : 0;
    }
    // Little-endian, as wide as the member; arrays get it in their first element.
    void set(const WorldObject& object, std::string_view path, uint64_t value) {
        const auto found = place(object, path);
        if (!found) return;
        std::memcpy(world_.image_.data() + found->at, &value, std::min<size_t>(found->size, 8));
    }
    void set_pointer(const WorldObject& object, std::string_view path, const WorldObject& target) {
        set(object, path, target.address);
    }
    void set_text(const WorldObject& object, std::string_view path, std::string_view value) {
        const auto found = place(object, path);
        if (!found || found->size == 0) return;
        std::memcpy(world_.image_.data() + found->at, value.data(),
                    std::min<size_t>(found->size - 1, value.size()));
    }
    void fill_ones(const WorldObject& object, std::string_view path) {
        if (const auto found = place(object, path))
            std::memset(world_.image_.data() + found->at, 0xff, std::min<size_t>(found->size, 8));
    }
    void patch(const WorldObject& object, std::string_view path, Source source) {
        const auto found = place(object, path);
        if (!found) return;
        const auto size = static_cast<uint8_t>(std::min<size_t>(
            found->size, source == Source::Comm ? sizeof Services::Task{}.comm : 8));
        world_.patches_.push_back({source, size, found->at});
    }

    void make_offsets() {
        KernelOffsets& o = world_.offsets_;
        o.task_pid = member_offset(btf_, "task_struct", "pid");
        o.task_tgid = member_offset(btf_, "task_struct", "tgid");
        o.inode_ino = member_offset(btf_, "inode", "i_ino");
        o.cgroup_kn = member_offset(btf_, "cgroup", "kn");
        o.kn_id = member_offset(btf_, "kernfs_node", "id");
        o.cgroup_level = member_offset(btf_, "cgroup", "level");
        o.cgroup_self = member_offset(btf_, "cgroup", "self");
        o.state_cgroup = member_offset(btf_, "cgroup_subsys_state", "cgroup");
        o.task_mm = member_offset(btf_, "task_struct", "mm");
        o.mm_exe_file = member_offset(btf_, "mm_struct", "exe_file");
        o.file_path = member_offset(btf_, "file", "f_path");
        o.file_inode = member_offset(btf_, "file", "f_inode");
        o.path_mnt = member_offset(btf_, "path", "mnt");
        o.path_dentry = member_offset(btf_, "path", "dentry");
        o.dentry_name = member_offset(btf_, "dentry", "d_name");
        o.dentry_parent = member_offset(btf_, "dentry", "d_parent");
        o.qstr_name = member_offset(btf_, "qstr", "name");
        o.mnt_root = member_offset(btf_, "vfsmount", "mnt_root");
        o.map_type = member_offset(btf_, "bpf_map", "map_type");
        o.map_key_size = member_offset(btf_, "bpf_map", "key_size");
        o.map_value_size = member_offset(btf_, "bpf_map", "value_size");
        o.map_max_entries = member_offset(btf_, "bpf_map", "max_entries");
        o.map_flags = member_offset(btf_, "bpf_map", "map_flags");
        o.map_id = member_offset(btf_, "bpf_map", "id");
        if (const uint32_t map = btf_.find("bpf_map", BtfKind::Struct); map != 0)
            o.map_bytes = btf_.type(map).size();
        o.vma_start = member_offset(btf_, "vm_area_struct", "vm_start");
        o.vma_end = member_offset(btf_, "vm_area_struct", "vm_end");
    }

    WorldObject make_inode(uint64_t number, uint64_t mode, const WorldObject& super) {
        const WorldObject inode = object("inode");
        set(inode, "i_ino", number);
        set(inode, "i_mode", mode);
        set(inode, "__i_nlink", 1);
        set_pointer(inode, "i_sb", super);
        return inode;
    }
    WorldObject make_dentry(std::string_view name, const WorldObject& parent,
                            const WorldObject& inode, const WorldObject& super) {
        const WorldObject dentry = object("dentry");
        set(dentry, "d_name.name", text(name));
        set(dentry, "d_name.len", name.size());
        set_pointer(dentry, "d_parent", parent ? parent : dentry);
        set_pointer(dentry, "d_inode", inode);
        set_pointer(dentry, "d_sb", super);
        return dentry;
    }
    // A root directory and one executable in it.
    void make_files() {
        super_ = object("super_block");
        set(super_, "s_magic", 0xef53);  // ext4
        set(super_, "s_dev", 8u << 20 | 1);
        const WorldObject root_inode = make_inode(2, kDirectoryMode, super_);
        root_ = make_dentry("/", {}, root_inode, super_);
        // struct mount holds the vfsmount that paths name.
        const WorldObject mount = object("mount");
        set_pointer(mount, "mnt_parent", mount);
        set(mount, "mnt.mnt_root", root_.address);
        set(mount, "mnt.mnt_sb", super_.address);
        set_pointer(mount, "mnt_mountpoint", root_);
        mnt_ = address_of(mount, "mnt");
        file_ = object("file");
        inode_ = make_inode(1000, kFileMode, super_);
        dentry_ = make_dentry("skep", root_, inode_, super_);
        set_pointer(file_, "f_path.dentry", dentry_);
        set(file_, "f_path.mnt", mnt_);
        set_pointer(file_, "f_inode", inode_);
        world_.file_ = file_.address;
        fs_ = object("fs_struct");
        for (const std::string_view path : {"pwd", "root"}) {
            set(fs_, std::string(path) + ".dentry", root_.address);
            set(fs_, std::string(path) + ".mnt", mnt_);
        }
        files_ = object("files_struct");
        const WorldObject table = object("fdtable");
        uint32_t at = 0;
        constexpr uint32_t kDescriptors = 64;
        set(table, "fd", reserve(kDescriptors * 8, at));
        set(table, "max_fds", kDescriptors);
        set_pointer(files_, "fdt", table);
    }

    WorldObject make_namespace(std::string_view type, uint64_t number) {
        const WorldObject made = object(type);
        set(made, "ns.inum", number);
        return made;
    }
    void make_namespaces() {
        user_ns_ = make_namespace("user_namespace", kUserNs);
        pid_ns_ = make_namespace("pid_namespace", kPidNs);
        set_pointer(pid_ns_, "user_ns", user_ns_);
        const WorldObject uts = make_namespace("uts_namespace", kUtsNs);
        set_text(uts, "name.sysname", "Linux");
        set_text(uts, "name.nodename", "skep");
        set_pointer(uts, "user_ns", user_ns_);
        const WorldObject mnt_ns = make_namespace("mnt_namespace", kMntNs);
        nsproxy_ = object("nsproxy");
        set_pointer(nsproxy_, "uts_ns", uts);
        set_pointer(nsproxy_, "ipc_ns", make_namespace("ipc_namespace", kIpcNs));
        set_pointer(nsproxy_, "mnt_ns", mnt_ns);
        set_pointer(nsproxy_, "pid_ns_for_children", pid_ns_);
        set_pointer(nsproxy_, "net_ns", make_namespace("net", kNetNs));
        set_pointer(nsproxy_, "cgroup_ns", make_namespace("cgroup_namespace", kCgroupNs));
        const WorldObject time_ns = make_namespace("time_namespace", kTimeNs);
        set_pointer(nsproxy_, "time_ns", time_ns);
        set_pointer(nsproxy_, "time_ns_for_children", time_ns);
    }

    WorldObject make_cgroup_node(std::string_view name, uint64_t level) {
        constexpr uint32_t kLevels = 2;
        const WorldObject node = object("kernfs_node");
        set(node, "name", text(name));
        const WorldObject cgroup = object("cgroup", kLevels * 8);
        set_pointer(cgroup, "kn", node);
        set_pointer(cgroup, "self.cgroup", cgroup);
        set(cgroup, "self.refcnt.percpu_count_ptr", 1);
        set(cgroup, "level", level);
        if (level == 0) {
            set(node, "id", 1);
            set_ancestor(cgroup, 0, cgroup);
            root_cgroup_ = cgroup;
            root_node_ = node;
            return cgroup;
        }
        patch(node, "id", Source::Cgroup);
        for (const std::string_view parent : {"parent", "__parent"})
            set_pointer(node, parent, root_node_);
        set(cgroup, "self.parent", address_of(root_cgroup_, "self"));
        set_ancestor(cgroup, 0, root_cgroup_);
        set_ancestor(cgroup, 1, cgroup);
        return cgroup;
    }
    void set_ancestor(const WorldObject& cgroup, uint32_t level, const WorldObject& ancestor) {
        const auto array = place(cgroup, "ancestors");
        if (!array) return;
        const uint64_t at = array->at + uint64_t{level} * 8;
        if (at + 8 <= world_.image_.size())
            std::memcpy(world_.image_.data() + at, &ancestor.address, 8);
    }
    // The root, and the one that the current task is in.
    void make_cgroup() {
        const WorldObject root = make_cgroup_node("", 0);
        const WorldObject own = make_cgroup_node("skep", 1);
        world_.root_cgroup_ = root.address;
        world_.own_cgroup_ = own.address;
        name("cgroup", own.address);
        name("cgroup_subsys_state", address_of(own, "self"));
        cgroups_ = object("css_set");
        if (!root || !own) return;
        patch(cgroups_, "dfl_cgrp", Source::CgroupNode);
        // Every controller's state leads to the one cgroup.
        if (const auto states = place(cgroups_, "subsys")) {
            for (uint32_t at = 0; at + 8 <= states->size; at += 8)
                world_.patches_.push_back({Source::CgroupState, 8, states->at + at});
        }
    }

    void make_memory() {
        mm_ = object("mm_struct");
        set_pointer(mm_, "exe_file", file_);
        set(mm_, "mm_users.counter", 1);
        const WorldObject vma = object("vm_area_struct");
        set_pointer(vma, "vm_mm", mm_);
        set_pointer(vma, "vm_file", file_);
        world_.vma_ = vma.address;
        uint32_t at = 0;
        stack_ = reserve(kStackBytes, at);
        const uint32_t type = btf_.find("pt_regs", BtfKind::Struct);
        const uint32_t size = type == 0 ? 0 : btf_.type(type).size();
        if (stack_ != 0 && size != 0 && size < kStackBytes)
            world_.registers_ = stack_ + kStackBytes - size;
    }

    WorldObject make_cred() {
        const WorldObject cred = object("cred");
        for (const std::string_view id : {"uid", "suid", "euid", "fsuid"})
            patch(cred, std::string(id) + ".val", Source::Uid);
        for (const std::string_view id : {"gid", "sgid", "egid", "fsgid"})
            patch(cred, std::string(id) + ".val", Source::Gid);
        set(cred, "usage.counter", 1);
        set(cred, "usage", 1);
        set_pointer(cred, "user_ns", user_ns_);
        return cred;
    }
    // The pid of `task` as its namespace counts it.
    WorldObject make_pid(Source source) {
        const WorldObject pid = object("pid");
        if (!pid) return pid;
        // numbers[] is flexible, or has one element: a struct upid either way.
        const auto numbers = place(pid, "numbers");
        const uint32_t upid = btf_.find("upid", BtfKind::Struct);
        if (!numbers || upid == 0) return pid;
        const uint64_t end = uint64_t{numbers->at} + btf_.type(upid).size();
        if (end > world_.image_.size()) world_.image_.resize(end);
        const WorldObject number{upid, numbers->at, KernelWorld::kBase + numbers->at};
        patch(number, "nr", source);
        set_pointer(number, "ns", pid_ns_);
        return pid;
    }
    // It may run on every CPU.
    void set_processors(const WorldObject& task) {
        const auto mask = place(task, "cpus_mask");
        if (!mask) return;
        for (uint64_t cpu = 0; cpu < sync::slot_count() && cpu / 8 < mask->size; ++cpu)
            world_.image_[mask->at + cpu / 8] |= std::byte{1} << cpu % 8;
        set(task, "cpus_ptr", KernelWorld::kBase + mask->at);
    }
    struct Identity {
        Source pid, tgid;
    };
    WorldObject make_task(Identity who, const WorldObject& cred) {
        const WorldObject task = object("task_struct");
        patch(task, "pid", who.pid);
        patch(task, "tgid", who.tgid);
        set_pointer(task, "cred", cred);
        set_pointer(task, "real_cred", cred);
        set_pointer(task, "nsproxy", nsproxy_);
        set_pointer(task, "cgroups", cgroups_);
        set_pointer(task, "mm", mm_);
        set_pointer(task, "active_mm", mm_);
        set_pointer(task, "fs", fs_);
        set_pointer(task, "files", files_);
        set(task, "stack", stack_);
        for (const std::string_view name : {"prio", "static_prio", "normal_prio"})
            set(task, name, kDefaultPriority);
        set(task, "nr_cpus_allowed", sync::slot_count());
        set_processors(task);
        set(task, "usage.counter", 1);
        for (const std::string_view name :
             {"cpu", "recent_used_cpu", "wake_cpu", "thread_info.cpu"})
            patch(task, name, Source::Cpu);
        fill_ones(task, "loginuid");
        fill_ones(task, "sessionid");
        const WorldObject pid = make_pid(who.pid);
        set_pointer(task, "thread_pid", pid);
        const WorldObject signal = object("signal_struct");
        set(signal, "nr_threads", 1);
        if (const auto pids = place(signal, "pids"); pids && pids->size >= 32) {
            // PIDTYPE_TGID and PIDTYPE_PGID, PIDTYPE_SID: all of the leader's.
            const WorldObject leader = make_pid(who.tgid);
            for (uint32_t i = 1; i < 4; ++i)
                std::memcpy(world_.image_.data() + pids->at + i * 8, &leader.address, 8);
        }
        set_pointer(task, "signal", signal);
        return task;
    }

    void make_tasks() {
        if (btf_.find("task_struct", BtfKind::Struct) == 0) return;
        const WorldObject cred = make_cred();
        const WorldObject current = make_task({Source::Pid, Source::Tgid}, cred);
        const WorldObject leader = make_task({Source::Tgid, Source::Tgid}, cred);
        const WorldObject parent = make_task({Source::Ppid, Source::Ppid}, cred);
        const WorldObject idle = object("task_struct");
        if (!current || !leader || !parent || !idle) return;
        patch(current, "comm", Source::Comm);
        patch(leader, "comm", Source::Comm);
        patch(current, "group_leader", Source::Leader);
        set_pointer(leader, "group_leader", leader);
        set_pointer(parent, "group_leader", parent);
        set_pointer(idle, "group_leader", idle);
        for (const std::string_view name : {"real_parent", "parent"}) {
            set_pointer(current, name, parent);
            set_pointer(leader, name, parent);
            set_pointer(parent, name, idle);
            set_pointer(idle, name, idle);
        }
        set_text(parent, "comm", "init");
        set_text(idle, "comm", "swapper/0");
        set_pointer(idle, "cred", cred);
        set_pointer(idle, "real_cred", cred);
        set_pointer(idle, "nsproxy", nsproxy_);
        set_pointer(idle, "cgroups", cgroups_);
        world_.task_ = current.address;
        world_.leader_ = leader.address;
        world_.tasks_[0] = parent.address;
        world_.tasks_[1] = leader.address;
        world_.tasks_[2] = current.address;
        name("task_struct", current.address);
        name("cred", cred.address);
    }

    // A TCP connection, as the kernel knows one.
    void make_sockets() {
        constexpr uint64_t kInet = 2, kEstablished = 1, kStream = 1, kTcp = 6;
        constexpr uint64_t kWindow = 10, kSegment = 1460, kNoThreshold = 0x7fffffff;
        const WorldObject tcp = object("tcp_sock");
        if (!tcp) return;
        constexpr std::string_view kSock = "inet_conn.icsk_inet.sk.";
        const auto in_sock = [&](std::string_view member) {
            return std::string(kSock) + std::string(member);
        };
        set(tcp, in_sock("__sk_common.skc_family"), kInet);
        set(tcp, in_sock("__sk_common.skc_state"), kEstablished);
        set(tcp, in_sock("sk_type"), kStream);
        set(tcp, in_sock("sk_protocol"), kTcp);
        set(tcp, in_sock("sk_pacing_rate"), ~uint64_t{0});
        set(tcp, in_sock("sk_max_pacing_rate"), ~uint64_t{0});
        set(tcp, "snd_cwnd", kWindow);
        set(tcp, "snd_cwnd_clamp", ~uint32_t{0});
        set(tcp, "snd_ssthresh", kNoThreshold);
        set(tcp, "mss_cache", kSegment);
        const WorldObject socket = object("socket");
        set(socket, "sk", tcp.address);
        set(tcp, in_sock("sk_socket"), socket.address);
        for (const std::string_view type :
             {"tcp_sock", "inet_connection_sock", "inet_sock", "sock", "sock_common"})
            name(type, tcp.address);
        name("socket", socket.address);
    }

    void make_contexts() {
        uint32_t at = 0;
        world_.context_ = reserve(KernelWorld::kContextBytes, at);
        world_.device_ = reserve(KernelWorld::kDeviceBytes, at);
        world_.sockets_ = reserve(KernelWorld::kSockets * KernelWorld::kSocketBytes, at);
        world_.blank_ = reserve(KernelWorld::kBlanks * KernelWorld::kBlankBytes, at);
        name("file", file_.address);
        name("path", address_of(file_, "f_path"));
        name("inode", inode_.address);
        name("dentry", dentry_.address);
        name("super_block", super_.address);
        name("vfsmount", mnt_);
        name("mm_struct", mm_.address);
        name("vm_area_struct", world_.vma_);
        name("pt_regs", world_.registers_);
        name("nsproxy", nsproxy_.address);
        const WorldObject binary = object("linux_binprm");
        set_pointer(binary, "file", file_);
        set_pointer(binary, "executable", file_);
        set(binary, "filename", text("/skep"));
        set(binary, "interp", text("/skep"));
        set(binary, "argc", 1);
        name("linux_binprm", binary.address);
        for (const std::string_view type :
             {"sk_buff", "net_device", "kiocb", "msghdr", "request", "super_block", "sockaddr"})
            if (world_.object(type) == 0) name(type, object(type).address);
    }

    KernelWorld& world_;
    const Btf& btf_;
    WorldObject super_, root_, file_, fs_, files_, user_ns_, pid_ns_, nsproxy_, cgroups_, mm_;
    WorldObject inode_, dentry_, root_cgroup_, root_node_;
    uint64_t mnt_ = 0, stack_ = 0;
};

std::shared_ptr<const KernelWorld> KernelWorld::create(std::shared_ptr<const Btf> btf) {
    auto world = std::make_shared<KernelWorld>();
    world->btf_ = std::move(btf);
    WorldBuilder(*world).build();
    return world;
}

uint64_t KernelWorld::object(std::string_view type) const noexcept {
    const auto found = std::ranges::find(named_, type, &Named::type);
    return found != named_.end() ? found->address : 0;
}

void KernelWorld::copy(std::span<std::byte> block) const noexcept {
    std::copy(image_.begin(), image_.end(), block.begin());
}

void KernelWorld::fill(std::span<std::byte> block, const Services::Task& task, uint64_t cgroup,
                       uint32_t cpu) const noexcept {
    for (const Patch& patch : patches_) {
        uint64_t value = 0;
        switch (patch.source) {
            case Source::Pid: value = task.pid; break;
            case Source::Tgid: value = task.tgid; break;
            case Source::Ppid: value = task.ppid; break;
            case Source::Uid: value = task.uid; break;
            case Source::Gid: value = task.gid; break;
            case Source::Cgroup: value = cgroup; break;
            case Source::Cpu: value = cpu; break;
            case Source::Leader: value = task.pid == task.tgid ? task_ : leader_; break;
            case Source::CgroupNode:
                value = cgroup == kRootCgroup ? root_cgroup_ : own_cgroup_;
                break;
            case Source::CgroupState:
                value = cgroup == kRootCgroup ? root_cgroup_ : own_cgroup_;
                value += offsets_.cgroup_self.value_or(0);
                break;
            case Source::Comm:
                std::memcpy(block.data() + patch.at, task.comm, patch.size);
                block[patch.at + patch.size - 1u] = std::byte{0};
                continue;
        }
        std::memcpy(block.data() + patch.at, &value, std::min<size_t>(patch.size, 8));
    }
}

}  // namespace skep
