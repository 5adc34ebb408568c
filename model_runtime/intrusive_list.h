#pragma once

#include <cstddef>

namespace penstock::runtime {

// What an object inherits to be in one IntrusiveList at a time: no allocation per entry, and it
// leaves from the middle in O(1).
class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;

 protected:
  ~ListLink() = default;

 private:
  template <typename T>
  friend class IntrusiveList;
  ListLink* previous_ = nullptr;
  ListLink* next_ = nullptr;
};

// A first-in first-out list of objects it does not own; T derives from ListLink. Not thread-safe.
template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.previous_ = head_.next_ = &head_; }

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  // Null when empty.
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }

  void pushBack(T& item) {
    ListLink& link = item;
    link.previous_ = head_.previous_;
    link.next_ = &head_;
    head_.previous_->next_ = &link;
    head_.previous_ = &link;
    ++size_;
  }

  // item is in this list.
  void remove(T& item) {
    ListLink& link = item;
    link.previous_->next_ = link.next_;
    link.next_->previous_ = link.previous_;
    link.previous_ = link.next_ = nullptr;
    --size_;
  }

  // Null when empty.
  T* popFront() {
    T* item = front();
    if (item != nullptr) {
      remove(*item);
    }
    return item;
  }

 private:
  struct Head : ListLink {};
  Head head_;
  std::size_t size_ = 0;
};

}  // namespace penstock::runtime
