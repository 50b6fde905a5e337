// Sharing and copying of frames and stack chunks.
#include "verifier/state.hpp"

namespace skep::verifier {

Arena::~Arena() {
    for (Frame* frame : all_frames_) delete frame;
    for (StackChunk* chunk : all_chunks_) delete chunk;
}

Frame* Arena::make_frame() {
    Frame* frame = nullptr;
    if (!free_frames_.empty()) {
        frame = free_frames_.back();
        free_frames_.pop_back();
        *frame = Frame{};
    } else {
        frame = new Frame;
        all_frames_.push_back(frame);
    }
    bytes_ += sizeof(Frame);
    frame->refs = 1;
    return frame;
}

Frame* Arena::copy_frame(const Frame& from) {
    Frame* frame = nullptr;
    if (!free_frames_.empty()) {
        frame = free_frames_.back();
        free_frames_.pop_back();
        *frame = from;
    } else {
        frame = new Frame(from);
        all_frames_.push_back(frame);
    }
    bytes_ += sizeof(Frame);
    for (StackChunk* chunk : frame->chunks)
        if (chunk != nullptr) ++chunk->refs;
    frame->refs = 1;
    return frame;
}

StackChunk* Arena::make_chunk() {
    StackChunk* chunk = nullptr;
    if (!free_chunks_.empty()) {
        chunk = free_chunks_.back();
        free_chunks_.pop_back();
        *chunk = StackChunk{};
    } else {
        chunk = new StackChunk;
        all_chunks_.push_back(chunk);
    }
    bytes_ += sizeof(StackChunk);
    chunk->refs = 1;
    return chunk;
}

StackChunk* Arena::copy_chunk(const StackChunk& from) {
    StackChunk* chunk = nullptr;
    if (!free_chunks_.empty()) {
        chunk = free_chunks_.back();
        free_chunks_.pop_back();
        *chunk = from;
    } else {
        chunk = new StackChunk(from);
        all_chunks_.push_back(chunk);
    }
    bytes_ += sizeof(StackChunk);
    chunk->refs = 1;
    return chunk;
}

void Arena::release(StackChunk* chunk) {
    if (--chunk->refs != 0) return;
    bytes_ -= sizeof(StackChunk);
    free_chunks_.push_back(chunk);
}

void Arena::release(Frame* frame) {
    if (--frame->refs != 0) return;
    for (StackChunk* chunk : frame->chunks)
        if (chunk != nullptr) release(chunk);
    bytes_ -= sizeof(Frame);
    free_frames_.push_back(frame);
}

State::State(const State& other)
    : slot(other.slot),
      holds(other.holds),
      orders(other.orders),
      rcu_depth(other.rcu_depth),
      preempt_depth(other.preempt_depth),
      may_goto_depth(other.may_goto_depth),
      callback_unroll_depth(other.callback_unroll_depth),
      async_entries(other.async_entries),
      in_sleepable(other.in_sleepable),
      packet_may_change(other.packet_may_change),
      arena_(other.arena_),
      frames_(other.frames_),
      depth_(other.depth_) {
    for (unsigned i = 0; i < depth_; ++i) ++frames_[i]->refs;
}

State::State(State&& other) noexcept : arena_(other.arena_) { swap(other); }

State& State::operator=(State other) noexcept {
    swap(other);
    return *this;
}

State::~State() {
    for (unsigned i = 0; i < depth_; ++i) arena_->release(frames_[i]);
}

void State::swap(State& other) noexcept {
    std::swap(slot, other.slot);
    std::swap(holds, other.holds);
    std::swap(orders, other.orders);
    std::swap(rcu_depth, other.rcu_depth);
    std::swap(preempt_depth, other.preempt_depth);
    std::swap(may_goto_depth, other.may_goto_depth);
    std::swap(callback_unroll_depth, other.callback_unroll_depth);
    std::swap(async_entries, other.async_entries);
    std::swap(in_sleepable, other.in_sleepable);
    std::swap(packet_may_change, other.packet_may_change);
    std::swap(arena_, other.arena_);
    std::swap(frames_, other.frames_);
    std::swap(depth_, other.depth_);
}

Frame& State::push_frame() {
    frames_[depth_] = arena_->make_frame();
    return *frames_[depth_++];
}

void State::pop_frame() {
    arena_->release(frames_[--depth_]);
    frames_[depth_] = nullptr;
}

void State::unshare(unsigned i) {
    Frame* copy = arena_->copy_frame(*frames_[i]);
    arena_->release(frames_[i]);
    frames_[i] = copy;
}

StackChunk& State::own_chunk(unsigned frame_index, unsigned i) {
    Frame& frame = own_frame(frame_index);
    StackChunk*& chunk = frame.chunks[i];
    if (chunk == nullptr) {
        chunk = arena_->make_chunk();
    } else if (chunk->refs > 1) {
        StackChunk* copy = arena_->copy_chunk(*chunk);
        arena_->release(chunk);
        chunk = copy;
    }
    return *chunk;
}

}  // namespace skep::verifier
