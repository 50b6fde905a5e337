// Lists and trees of objects (object_heap.hpp). The tree is red-black: T. Cormen, C. Leiserson,
// R. Rivest, "Introduction to Algorithms", chapter 13.
#include <new>

#include "maps/object_heap.hpp"

namespace skep {

// The list or tree whose head is at `address`; null: another kind is there, or none and it is not
// to be made.
ObjectHeap::Root* ObjectHeap::root_at(const std::byte* address, bool tree, bool sandbox,
                                      bool make) {
    auto it = roots_.find(address);
    if (it == roots_.end()) {
        if (!make) return nullptr;
        it = roots_.emplace(address, Root{.address = address, .tree = tree, .sandbox = sandbox})
                 .first;
    }
    Root& root = it->second;
    return root.tree == tree && root.sandbox == sandbox ? &root : nullptr;
}

ObjectHeap::Node* ObjectHeap::node_in(const Root* root, const std::byte* address) noexcept {
    const auto it = nodes_.find(address);
    return root != nullptr && it != nodes_.end() && it->second.root == root ? &it->second : nullptr;
}

// Null: it is linked already, or in no live object.
ObjectHeap::Node* ObjectHeap::new_node(std::byte* address, Root& root) {
    if (find(address) == nullptr) return nullptr;
    const auto [it, fresh] = nodes_.try_emplace(address);
    if (!fresh) return nullptr;
    it->second.address = address;
    it->second.root = &root;
    return &it->second;
}

// An empty one need not be known.
void ObjectHeap::drop_root(Root& root) noexcept {
    if (root.top == nullptr) roots_.erase(root.address);
}

// --- lists --------------------------------------------------------------------------------------

bool ObjectHeap::list_push(const std::byte* head, bool sandbox, std::byte* address,
                           bool front) noexcept {
    const std::scoped_lock locked(lock_);
    try {
        Root* root = root_at(head, false, sandbox, true);
        if (root == nullptr) return false;
        Node* node = new_node(address, *root);
        if (node == nullptr) {
            drop_root(*root);
            return false;
        }
        Node*& end = front ? root->top : root->last;
        (front ? node->right : node->left) = end;
        if (end != nullptr)
            (front ? end->left : end->right) = node;
        else
            (front ? root->last : root->top) = node;
        end = node;
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void ObjectHeap::unlink_list(Node& node) noexcept {
    (node.left != nullptr ? node.left->right : node.root->top) = node.right;
    (node.right != nullptr ? node.right->left : node.root->last) = node.left;
}

std::byte* ObjectHeap::list_pop(const std::byte* head, bool sandbox, bool front) noexcept {
    const std::scoped_lock locked(lock_);
    Root* root = root_at(head, false, sandbox, false);
    if (root == nullptr) return nullptr;
    Node* node = front ? root->top : root->last;
    if (node == nullptr) return nullptr;
    unlink_list(*node);
    std::byte* address = node->address;
    nodes_.erase(address);
    drop_root(*root);
    return address;
}

std::byte* ObjectHeap::list_peek(const std::byte* head, bool sandbox, bool front) noexcept {
    const std::scoped_lock locked(lock_);
    const Root* root = root_at(head, false, sandbox, false);
    const Node* node = root == nullptr ? nullptr : front ? root->top : root->last;
    return node != nullptr ? node->address : nullptr;
}

// --- trees --------------------------------------------------------------------------------------

std::byte* ObjectHeap::tree_top(const std::byte* address, bool sandbox) noexcept {
    const std::scoped_lock locked(lock_);
    const Root* root = root_at(address, true, sandbox, false);
    return root != nullptr && root->top != nullptr ? root->top->address : nullptr;
}

std::byte* ObjectHeap::tree_first(const std::byte* address, bool sandbox) noexcept {
    const std::scoped_lock locked(lock_);
    const Root* root = root_at(address, true, sandbox, false);
    if (root == nullptr || root->top == nullptr) return nullptr;
    const Node* node = root->top;
    while (node->left != nullptr) node = node->left;
    return node->address;
}

std::byte* ObjectHeap::tree_child(const std::byte* address, bool sandbox,
                                  const std::byte* node_address, bool left) noexcept {
    const std::scoped_lock locked(lock_);
    const Node* node = node_in(root_at(address, true, sandbox, false), node_address);
    if (node == nullptr) return nullptr;
    const Node* child = left ? node->left : node->right;
    return child != nullptr ? child->address : nullptr;
}

ObjectHeap::Linked ObjectHeap::tree_link(const std::byte* address, bool sandbox,
                                         std::byte* node_address, const std::byte* parent_address,
                                         bool left) noexcept {
    const std::scoped_lock locked(lock_);
    try {
        Root* root = root_at(address, true, sandbox, true);
        if (root == nullptr) return Linked::No;
        Node* parent = nullptr;
        if (parent_address != nullptr) {
            parent = node_in(root, parent_address);
            if (parent == nullptr || (left ? parent->left : parent->right) != nullptr) {
                drop_root(*root);
                return Linked::Moved;
            }
        } else if (root->top != nullptr) {
            return Linked::Moved;
        }
        Node* node = new_node(node_address, *root);
        if (node == nullptr) {
            drop_root(*root);
            return Linked::No;
        }
        node->parent = parent;
        node->red = true;
        (parent == nullptr ? root->top : left ? parent->left : parent->right) = node;
        balance_insert(*root, node);
        return Linked::Yes;
    } catch (const std::bad_alloc&) {
        return Linked::No;
    }
}

bool ObjectHeap::tree_remove(const std::byte* address, bool sandbox,
                             std::byte* node_address) noexcept {
    const std::scoped_lock locked(lock_);
    Root* root = root_at(address, true, sandbox, false);
    Node* node = node_in(root, node_address);
    if (node == nullptr) return false;
    unlink_tree(*root, *node);
    nodes_.erase(node_address);
    drop_root(*root);
    return true;
}

// The child on the other side takes the node's place.
void ObjectHeap::rotate(Root& root, Node& node, bool left) noexcept {
    Node* up = left ? node.right : node.left;
    Node*& inner = left ? up->left : up->right;
    (left ? node.right : node.left) = inner;
    if (inner != nullptr) inner->parent = &node;
    inner = &node;
    replace(root, node, up);
    node.parent = up;
}

// `with` becomes the child of old's parent.
void ObjectHeap::replace(Root& root, Node& old, Node* with) noexcept {
    if (old.parent == nullptr)
        root.top = with;
    else
        (old.parent->left == &old ? old.parent->left : old.parent->right) = with;
    if (with != nullptr) with->parent = old.parent;
}

void ObjectHeap::balance_insert(Root& root, Node* node) noexcept {
    while (node->parent != nullptr && node->parent->red) {
        Node* parent = node->parent;
        Node* grand = parent->parent;
        const bool on_left = grand->left == parent;
        Node* uncle = on_left ? grand->right : grand->left;
        if (uncle != nullptr && uncle->red) {
            parent->red = uncle->red = false;
            grand->red = true;
            node = grand;
            continue;
        }
        if ((on_left ? parent->right : parent->left) == node) {
            rotate(root, *parent, on_left);
            std::swap(parent, node);
        }
        parent->red = false;
        grand->red = true;
        rotate(root, *grand, !on_left);
    }
    root.top->red = false;
}

void ObjectHeap::unlink_tree(Root& root, Node& node) noexcept {
    Node *child, *parent;
    bool was_red = node.red;
    if (node.left == nullptr || node.right == nullptr) {
        child = node.left != nullptr ? node.left : node.right;
        parent = node.parent;
        replace(root, node, child);
    } else {
        Node* next = node.right;
        while (next->left != nullptr) next = next->left;
        was_red = next->red;
        child = next->right;
        if (next->parent == &node) {
            parent = next;
        } else {
            parent = next->parent;
            replace(root, *next, child);
            next->right = node.right;
            next->right->parent = next;
        }
        replace(root, node, next);
        next->left = node.left;
        next->left->parent = next;
        next->red = node.red;
    }
    if (!was_red) balance_remove(root, child, parent);
}

// `node`, perhaps null, stands below `parent` where a black node is missing.
void ObjectHeap::balance_remove(Root& root, Node* node, Node* parent) noexcept {
    const auto black = [](const Node* n) { return n == nullptr || !n->red; };
    while (parent != nullptr && black(node)) {
        const bool on_left = parent->left == node;
        Node* sibling = on_left ? parent->right : parent->left;
        if (sibling->red) {
            sibling->red = false;
            parent->red = true;
            rotate(root, *parent, on_left);
            sibling = on_left ? parent->right : parent->left;
        }
        Node* outer = on_left ? sibling->right : sibling->left;
        Node* inner = on_left ? sibling->left : sibling->right;
        if (black(outer) && black(inner)) {
            sibling->red = true;
            node = parent;
            parent = node->parent;
            continue;
        }
        if (black(outer)) {
            inner->red = false;
            sibling->red = true;
            rotate(root, *sibling, !on_left);
            sibling = on_left ? parent->right : parent->left;
            outer = on_left ? sibling->right : sibling->left;
        }
        sibling->red = parent->red;
        parent->red = false;
        outer->red = false;
        rotate(root, *parent, on_left);
        return;
    }
    if (node != nullptr) node->red = false;
}

}  // namespace skep
