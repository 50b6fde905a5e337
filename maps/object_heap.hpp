// Objects that programs allocate: their memory, who owns each, and the lists and trees they are in.
//
// The objects' bytes lie in one reserved range, where programs read and write them. Everything that
// ownership rests on lies here, outside of it: what a kptr field holds, how nodes are linked, how
// many references there are. A kptr field in guest memory shows a guest address, for programs to
// compare and follow; nothing is ever read back from it, nor from list heads, tree roots or nodes.
// So programs that overwrite such fields change what they see, and nothing else.
//
// What a verified program stores, a sandboxed one does not find, and the other way round: types are
// proved in the one, and mean nothing in the other.
//
// Thread-safe. Reservations and metadata are bounded by the range; nothing here waits for a run.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <skep/map.hpp>

#include "vm/base/os.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

class Btf;
class Connections;  // maps/connections.hpp

// What objects of a type look like.
struct ObjectLayout {
    uint32_t size = 0;
    std::vector<SpecialField> fields;
    bool refcounted = false;  // has a bpf_refcount
};

// The struct types of a program, by their ids in its BTF. Thread-safe.
class ObjectTypes {
public:
    explicit ObjectTypes(std::shared_ptr<const Btf> btf) : btf_(std::move(btf)) {}
    // Null: not a struct that can be allocated.
    std::shared_ptr<const ObjectLayout> layout(uint64_t type_id) noexcept;

private:
    std::shared_ptr<const Btf> btf_;
    std::mutex mutex_;
    std::unordered_map<uint64_t, std::shared_ptr<const ObjectLayout>> known_;
};

class ObjectHeap {
public:
    static constexpr uint32_t kGuestRegion = 8;  // region::kHeap
    static constexpr uint64_t kDefaultBytes = 32u << 20;
    static constexpr uint32_t kLargest = 4096;         // bytes of an object, as in Linux
    static constexpr uint32_t kLargestPercpu = 65536;  // of all copies together

    ~ObjectHeap();
    static Result<std::shared_ptr<ObjectHeap>> create(uint64_t bytes = kDefaultBytes);

    std::byte* base() const noexcept { return memory_.data() + kSlack; }
    uint64_t bytes() const noexcept { return bytes_; }
    bool contains(const void* at) const noexcept {
        const auto address = reinterpret_cast<uintptr_t>(at);
        const auto first = reinterpret_cast<uintptr_t>(base());
        return address - first < bytes_;
    }

    // A zeroed object with one reference, the caller's; null: no room. `copies` for each CPU.
    std::byte* allocate(std::shared_ptr<const ObjectLayout> layout, unsigned copies = 1) noexcept;
    // The live object that has a byte at `inside`, or null.
    std::byte* object_of(const std::byte* inside) noexcept;
    // Bytes of the live object that has a byte at `inside`; 0 for none.
    uint32_t object_bytes(const std::byte* inside) noexcept;
    // Bytes from one CPU's copy to the next; 0 for objects without copies.
    uint32_t copy_stride(const std::byte* object) noexcept;
    // One more reference, if the type counts them.
    bool retain(const std::byte* object) noexcept;
    // One less; the last one frees the object and what it owns.
    void release(std::byte* object) noexcept;

    // --- kptrs. `slot` is an 8-byte field of a map value or an object.
    // Puts `in`, whose reference the caller gives up, or null; the object that was there, with its
    // reference. False: no memory, nothing changed.
    bool exchange(std::byte* slot, bool sandbox, std::byte* in, std::byte*& out) noexcept;
    std::byte* held(const std::byte* slot, bool sandbox) noexcept;
    // What a kptr shows of an object: a guest address. Objects of the kernel's, which are not in
    // the heap and which nothing frees, show the address that programs know them by; null shows 0.
    uint64_t shown(const std::byte* object) const noexcept;

    // --- lists. `head` and `node` are addresses of the fields. A list or tree holds a reference.
    // Takes over the caller's. False: the node is linked already, or no memory; nothing changed.
    bool list_push(const std::byte* head, bool sandbox, std::byte* node, bool front) noexcept;
    // The node, whose object's reference is now the caller's; null: empty.
    std::byte* list_pop(const std::byte* head, bool sandbox, bool front) noexcept;
    std::byte* list_peek(const std::byte* head, bool sandbox, bool front) noexcept;

    // --- trees: red-black, whose order the caller makes by choosing where nodes go.
    std::byte* tree_top(const std::byte* root, bool sandbox) noexcept;
    std::byte* tree_first(const std::byte* root, bool sandbox) noexcept;
    std::byte* tree_child(const std::byte* root, bool sandbox, const std::byte* node,
                          bool left) noexcept;
    enum class Linked : uint8_t { Yes, No, Moved };
    // Links below `parent` (null: as the top), taking over the caller's reference. Moved: that
    // place is taken or gone. No: the node is linked already, or no memory.
    Linked tree_link(const std::byte* root, bool sandbox, std::byte* node, const std::byte* parent,
                     bool left) noexcept;
    // False: the node is not in this tree. Its reference is now the caller's.
    bool tree_remove(const std::byte* root, bool sandbox, std::byte* node) noexcept;

    // Everything that the fields in [begin, begin + size) own is given up. With `gone` the bytes
    // themselves are no longer there.
    void clear(std::byte* begin, uint64_t size, bool gone = false) noexcept;

    uint64_t live() noexcept;  // objects
    Connections& connections() noexcept { return *connections_; }

private:
    static constexpr uint64_t kChunk = 65536;
    // Around the range, so that no displacement inside of an object's type ever leaves the mapping.
    static constexpr uint64_t kSlack = 65536;

    struct Object {
        std::shared_ptr<const ObjectLayout> layout;  // null: free
        uint32_t references = 0;
        uint32_t stride = 0;
    };
    struct Chunk {
        uint32_t each = 0;  // bytes
        std::vector<Object> objects;
    };
    struct Class {
        uint32_t each = 0;
        std::vector<std::byte*> free;
    };
    struct Node;
    struct Root {
        const std::byte* address = nullptr;
        bool tree = false, sandbox = false;
        Node* top = nullptr;   // list: the first
        Node* last = nullptr;  // list
    };
    struct Node {
        std::byte* address = nullptr;
        Root* root = nullptr;
        Node *left = nullptr, *right = nullptr, *parent = nullptr;  // list: left before, right next
        bool red = false;
    };
    struct Slot {
        std::byte* object = nullptr;
        bool sandbox = false;
    };

    ObjectHeap();
    Object* find(const std::byte* inside, std::byte** start = nullptr) noexcept;
    void release_all(std::vector<std::byte*>& work) noexcept;
    void take_contents(const std::byte* begin, uint64_t size, std::vector<std::byte*>& work);
    Root* root_at(const std::byte* address, bool tree, bool sandbox, bool make);
    Node* node_in(const Root* root, const std::byte* address) noexcept;
    Node* new_node(std::byte* address, Root& root);
    void drop_root(Root& root) noexcept;
    void unlink_list(Node& node) noexcept;
    static void rotate(Root& root, Node& node, bool left) noexcept;
    static void balance_insert(Root& root, Node* node) noexcept;
    static void replace(Root& root, Node& old, Node* with) noexcept;
    static void unlink_tree(Root& root, Node& node) noexcept;
    static void balance_remove(Root& root, Node* node, Node* parent) noexcept;
    static void show(std::byte* slot, uint64_t value) noexcept;

    sync::SpinLock lock_;
    os::Pages memory_;
    uint64_t bytes_ = 0;
    std::vector<Chunk> chunks_;
    std::vector<Class> classes_;
    std::map<const std::byte*, Slot> slots_;
    std::map<const std::byte*, Root> roots_;
    std::unordered_map<const std::byte*, Node> nodes_;
    uint64_t live_ = 0;
    std::unique_ptr<Connections> connections_;
};

// Lets the values of `map` own objects of `heap`: whatever deletes or replaces a value gives up
// what it owned. False: the map belongs to another heap, or its type keeps no such values.
bool keep_objects(Map& map, const std::shared_ptr<ObjectHeap>& heap) noexcept;

}  // namespace skep
