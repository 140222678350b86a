// The host program's tensors, read where they lie: through DLPack's C exchange API, which its tensor type carries as a
// capsule. It needs neither headers nor libraries of the host's. For bindings.cpp.
#pragma once

#include <pybind11/pybind11.h>

#include "api.h"

namespace stylegan_fast::tensors {

namespace py = pybind11;

// dlpack.h, version 1 (https://github.com/dmlc/dlpack): DLTensor, and as much of DLPackExchangeAPI as is used here.
struct Device {
  int32_t type, id;
};
struct Type {
  uint8_t code, bits;
  uint16_t lanes;
};
struct View {
  void* data;
  Device device;
  int32_t dims;
  Type type;
  int64_t* shape;
  int64_t* strides;  // in elements
  uint64_t byte_offset;

  void* start() const { return static_cast<char*>(data) + byte_offset; }
  bool is_beside(const View& other) const {
    return device.type == other.device.type && device.id == other.device.id;
  }
  template <class... Sizes>
  bool has_shape(Sizes... sizes) const {
    const int64_t wanted[] = {sizes...};
    if (dims != static_cast<int32_t>(sizeof...(sizes))) return false;
    for (int32_t i = 0; i < dims; ++i)
      if (shape[i] != wanted[i]) return false;
    return true;
  }
};
struct ExchangeApi {
  uint32_t major, minor;
  const void* previous;
  void *allocate, *owned_from_object, *owned_to_object;
  int (*view_of)(void* object, View* view);
};

constexpr int32_t on_cpu = 1, on_cuda = 2;

class Host {
 public:
  // Whether tensors can be read from now on. plain_types: those that are what they seem, no subclasses.
  bool use(const py::capsule& api, const py::args& plain_types) {
    const auto* offered = static_cast<const ExchangeApi*>(PyCapsule_GetPointer(api.ptr(), "dlpack_exchange_api"));
    if (!offered) throw py::error_already_set();
    if (offered->major != 1 || !offered->view_of) return false;
    api_ = offered;
    plain_types_ = py::tuple(plain_types).release().ptr();  // for as long as the process lives
    is_negative_ = PyUnicode_InternFromString("is_neg");
    return true;
  }

  // Whether the object is a tensor with memory.
  bool view(PyObject* object, View& to) const {
    if (!api_) return false;
    if (api_->view_of(object, &to) != 0) return PyErr_Clear(), false;
    return to.strides || !to.dims;
  }

  // Whether what lies in its memory is what the tensor is: no subclass, no view that is to be negated when read.
  bool is_plain(PyObject* object) const {
    const auto* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
    bool found = false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(plain_types_); ++i) found |= PyTuple_GET_ITEM(plain_types_, i) == type;
    if (!found) return false;
    PyObject* negative = PyObject_CallMethodNoArgs(object, is_negative_);
    if (!negative) throw py::error_already_set();
    Py_DECREF(negative);
    return negative == Py_False;
  }

 private:
  const ExchangeApi* api_ = nullptr;
  PyObject *plain_types_ = nullptr, *is_negative_ = nullptr;
};

inline Host& host() {
  static Host the_host;
  return the_host;
}

inline bool read(const Type& type, DType& to) {
  if (type.lanes != 1) return false;
  if (type.code == 4 && type.bits == 16) return to = DType::bf16, true;
  if (type.code != 2) return false;
  if (type.bits == 32) return to = DType::f32, true;
  if (type.bits == 64) return to = DType::f64, true;
  if (type.bits == 16) return to = DType::f16, true;
  return false;
}

inline bool is_empty(const View& view) {
  for (int32_t i = 0; i < view.dims; ++i)
    if (view.shape[i] == 0) return true;
  return false;
}

inline bool is_dense(const View& view, const int (&order)[4]) {  // order: dimensions, the fastest first
  int64_t step = 1;
  for (int dim : order) {
    if (view.shape[dim] != 1 && view.strides[dim] != step) return false;
    step *= view.shape[dim];
  }
  return true;
}

inline bool read(const View& x, Layout& to) {
  if (is_empty(x) || is_dense(x, {3, 2, 1, 0})) return to = Layout::contiguous, true;
  return to = Layout::channels_last, is_dense(x, {1, 3, 2, 0});
}

inline DType acc_of(DType dtype) { return dtype == DType::f64 ? DType::f64 : DType::f32; }

// Whether `bias_act`'s kernels take x, and b where there is one, as they are; their shapes have been compared.
inline bool bias_act_takes(PyObject* x_tensor, PyObject* b_tensor) {
  View x, b;
  DType dtype, dtype_of_b;
  Layout layout;
  if (!host().is_plain(x_tensor) || !host().view(x_tensor, x) || x.dims != 4) return false;
  if ((x.device.type != on_cpu && x.device.type != on_cuda) || !read(x.type, dtype) || !read(x, layout)) return false;
  if (b_tensor == Py_None) return true;
  if (!host().is_plain(b_tensor) || !host().view(b_tensor, b) || b.dims != 1 || !b.is_beside(x)) return false;
  return (b.shape[0] < 2 || b.strides[0] == 1) && read(b.type, dtype_of_b) && dtype_of_b == acc_of(dtype);
}

// The tensors of an `adain` call as its kernels take them.
struct AdaINTensors {
  PyObject *x, *scale, *shift, *noise, *noise_strength, *bias;  // None: left out

  // Whether kernels take these as they are; then all fields for them are set, and h, w and c from x and op.phases.
  bool read_into(AdaIN& op) const {
    View view;
    if (!host().view(x, view) || view.dims != 4 || !read(view.type, op.dtype) || !read(view, op.layout)) return false;
    if (view.device.type != on_cpu && view.device.type != on_cuda) return false;
    if (op.phases && (view.shape[1] % 4 || view.shape[2] < 1 || view.shape[3] < 1)) return false;
    op.n = view.shape[0];
    op.c = op.phases ? view.shape[1] / 4 : view.shape[1];
    op.h = op.phases ? 2 * (view.shape[2] - 1) : view.shape[2];
    op.w = op.phases ? 2 * (view.shape[3] - 1) : view.shape[3];
    op.x = view.start();
    if ((noise == Py_None) != (noise_strength == Py_None)) return false;
    return read_plane_parameter(view, scale, op, op.scale) && read_plane_parameter(view, shift, op, op.shift) &&
           read_noise(view, op) && read_channels(view, noise_strength, op, op.noise_strength) &&
           read_channels(view, bias, op, op.bias);
  }

  bool are_plain() const {
    for (PyObject* tensor : {x, scale, shift, noise, noise_strength, bias})
      if (tensor != Py_None && !host().is_plain(tensor)) return false;
    return true;
  }

 private:
  static bool view_of_parameter(const View& x, PyObject* tensor, const AdaIN& op, View& view) {
    DType dtype;
    return host().view(tensor, view) && view.is_beside(x) && read(view.type, dtype) && dtype == acc_of(op.dtype);
  }
  static bool read_plane_parameter(const View& x, PyObject* tensor, const AdaIN& op, PlaneParameter& to) {
    View view;
    if (tensor == Py_None) return to = {}, true;
    if (!view_of_parameter(x, tensor, op, view) || !view.has_shape(op.n, op.c)) return false;
    return to = {view.start(), view.strides[0], view.strides[1]}, true;
  }
  static bool read_channels(const View& x, PyObject* tensor, const AdaIN& op, const void*& to) {
    View view;
    if (tensor == Py_None) return to = nullptr, true;
    if (!view_of_parameter(x, tensor, op, view) || !view.has_shape(op.c)) return false;
    return to = view.start(), op.c == 1 || view.strides[0] == 1;
  }
  bool read_noise(const View& x, AdaIN& op) const {
    View view;
    if (noise == Py_None) return op.noise = nullptr, op.noise_stride_n = 0, true;
    if (!view_of_parameter(x, noise, op, view) || !view.has_shape(op.n, int64_t(1), op.h, op.w)) return false;
    op.noise = view.start();
    op.noise_stride_n = view.strides[0];
    if (is_empty(view)) return true;
    const bool one_map = op.n == 1 || op.noise_stride_n == 0;
    return (op.w == 1 || view.strides[3] == 1) && (op.h == 1 || view.strides[2] == op.w) &&
           (one_map || op.noise_stride_n == op.h * op.w);
  }
};

}  // namespace stylegan_fast::tensors
