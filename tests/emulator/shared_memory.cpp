// The checks on shared memory. See shared_memory.h for what is reported.
#include "shared_memory.h"

namespace emulator {
namespace {

Access access_now() {
  return {current, current->warp->epoch, current->block->epoch, cluster->epoch};
}

// Whether a barrier lies between an earlier access and one made now.
bool ordered(const Access& earlier, const Access& now) {
  if (!earlier.thread || earlier.thread == now.thread) return true;
  if (earlier.thread->block != now.thread->block) return earlier.cluster_epoch != now.cluster_epoch;
  if (earlier.thread->warp != now.thread->warp) return earlier.block_epoch != now.block_epoch;
  return earlier.warp_epoch != now.warp_epoch;
}

void race(const SharedArray& array, int64_t i, const Access& earlier, const char* what) {
  const dim3 thread = earlier.thread->index, block = earlier.thread->block->index;
  report(current, "race on shared %s[%lld]: %s thread (%u,%u,%u) of block (%u,%u,%u) with no barrier between",
         array.name, static_cast<long long>(i), what, thread.x, thread.y, thread.z, block.x, block.y, block.z);
}

}  // namespace

void SharedArray::check(int64_t i, const char* verb) const {
  if (i < 0 || uint64_t(i) >= count)
    report(current, "shared memory out of bounds: %s %s[%lld] of %zu", verb, name, static_cast<long long>(i), count);
  if (&block != current->block && block.exited())
    report(current, "%s shared %s of block (%u,%u,%u), an exited block", verb, name, block.index.x, block.index.y,
           block.index.z);
}

void SharedArray::read(int64_t i, void* value) {
  check(i, "reads");
  Shadow& shadow = shadow_[i];
  if (!shadow.written)
    report(current, "uninitialised shared memory: reads %s[%lld]", name, static_cast<long long>(i));
  const Access now = access_now();
  if (!ordered(shadow.write, now)) race(*this, i, shadow.write, "reads what was written by");
  if (shadow.reads[0].thread != now.thread) shadow.reads[1] = shadow.reads[0];
  shadow.reads[0] = now;
  std::memcpy(value, bytes_.data() + i * element, element);
}

void SharedArray::write(int64_t i, const void* value) {
  check(i, "writes");
  Shadow& shadow = shadow_[i];
  const Access now = access_now();
  if (!ordered(shadow.write, now)) race(*this, i, shadow.write, "overwrites what was written by");
  for (const Access& read : shadow.reads)
    if (!ordered(read, now)) race(*this, i, read, "overwrites what is read by");
  shadow.write = now;
  shadow.written = true;
  std::memcpy(bytes_.data() + i * element, value, element);
}

SharedArray& shared_array(Block& block, const void* key, const char* name, size_t element, size_t count,
                          int64_t offset) {
  size_t static_bytes = element * count;
  for (const auto& array : block.shared) {
    if (array->key == key && array->offset == offset && array->element == element && array->count == count)
      return *array;
    const bool overlap = offset >= 0 && array->offset >= 0 && offset < array->offset + int64_t(array->bytes()) &&
                         array->offset < offset + int64_t(element * count);
    if (overlap) report(current, "dynamic shared %s overlaps %s", name, array->name);
    if (array->offset < 0) static_bytes += array->bytes();
  }
  if (offset < 0 && static_bytes > static_shared_limit)
    report(current, "static shared memory of %zu bytes with %s: more than 48 KB", static_bytes, name);
  if (offset < 0 && static_bytes + cluster->shape.shared_bytes > shared_limit)
    report(current, "static and dynamic shared memory together are more than 227 KB");
  if (offset >= 0 && size_t(offset) + element * count > cluster->shape.shared_bytes)
    report(current, "dynamic shared %s ends at byte %zu of %zu launched", name, size_t(offset) + element * count,
           cluster->shape.shared_bytes);
  if (offset >= 0 && size_t(offset) % element)
    report(current, "dynamic shared %s begins at byte %lld, not aligned to its element", name,
           static_cast<long long>(offset));
  block.shared.push_back(std::make_unique<SharedArray>(block, key, name, element, count, offset));
  return *block.shared.back();
}

}  // namespace emulator
