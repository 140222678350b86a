// Shared memory that knows what was done to it. Kernels hold a SharedPointer<T> instead of a T*, and every access
// reports, with block and thread:
//   out of bounds      the index is outside the array
//   uninitialised      nothing was ever written there (the bytes themselves are NaN: 0xff)
//   race               another thread touched the element, one of the two accesses writes, and no barrier lies between
//                      (two lanes of a warp: __syncwarp; two warps: __syncthreads; two blocks: the cluster barrier)
//   exited block       the array belongs to another block of the cluster that has already ended
// Of the reads since the last barrier the check remembers the two latest by different threads, so it can miss a race of
// many; the two schedules are the second net.
#pragma once

#include <cstring>
#include <type_traits>

#include "machine.h"

namespace emulator {

struct Access {
  const Thread* thread = nullptr;
  unsigned warp_epoch = 0, block_epoch = 0, cluster_epoch = 0;
};

class SharedArray {
 public:
  SharedArray(Block& block, const void* key, const char* name, size_t element, size_t count, int64_t offset)
      : block(block), key(key), name(name), element(element), count(count), offset(offset),
        bytes_(element * count, 0xff), shadow_(count) {}

  void read(int64_t i, void* value);
  void write(int64_t i, const void* value);
  size_t bytes() const { return bytes_.size(); }

  Block& block;
  const void* const key;
  const char* const name;
  const size_t element, count;
  const int64_t offset;  // bytes into dynamic shared memory, or -1: static

 private:
  struct Shadow {
    bool written = false;
    Access write, reads[2];
  };
  void check(int64_t i, const char* verb) const;

  std::vector<unsigned char> bytes_;
  std::vector<Shadow> shadow_;
};

// The array `key` of a block, made (poisoned) when a thread first names it.
SharedArray& shared_array(Block&, const void* key, const char* name, size_t element, size_t count, int64_t offset);

template <typename T>
class SharedReference {
 public:
  SharedReference(SharedArray* array, int64_t i) : array_(array), i_(i) {}
  SharedReference(const SharedReference&) = default;
  operator T() const {
    T value;
    array_->read(i_, &value);
    return value;
  }
  const SharedReference& operator=(const T& value) const {
    array_->write(i_, &value);
    return *this;
  }
  const SharedReference& operator=(const SharedReference& other) const { return *this = static_cast<T>(other); }
  const SharedReference& operator+=(const T& value) const { return *this = static_cast<T>(*this) + value; }

 private:
  SharedArray* array_;
  int64_t i_;
};

template <typename T>
class SharedPointer {
 public:
  static_assert(std::is_trivially_copyable<T>::value, "shared memory is never constructed");
  SharedPointer(SharedArray* array, int64_t first) : array_(array), first_(first) {}
  SharedReference<T> operator[](int64_t i) const { return {array_, first_ + i}; }
  SharedReference<T> operator*() const { return {array_, first_}; }
  SharedPointer operator+(int64_t i) const { return {array_, first_ + i}; }
  SharedPointer of_block(unsigned rank) const {  // the same place in another block of the cluster
    if (rank >= cluster->blocks.size()) report(current, "cluster rank %u of %zu", rank, cluster->blocks.size());
    SharedArray& there = shared_array(*cluster->blocks[rank], array_->key, array_->name, array_->element,
                                      array_->count, array_->offset);
    return {&there, first_};
  }

 private:
  SharedArray* array_;
  int64_t first_;
};

}  // namespace emulator
