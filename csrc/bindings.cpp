// pybind11: unpack, call api.h, turn a Status into an exception. No logic.
//
// A kernel takes the fields of its struct in their order, pointers and streams as integers; last comes the number of
// threads (cpu), or the workspace's address, where the struct has one, and the stream (cuda). In place of an address, and
// of all that says how a tensor lies, stands the tensor itself where the host's tensors can be read (tensors.h).
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "api.h"
#include "tensors.h"

#ifdef STYLEGAN_FAST_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace py = pybind11;
using namespace stylegan_fast;

namespace {

// Positional arguments, read one after the other. (Casters for 30 parameters cost more than a small kernel.)
class Arguments {
 public:
  explicit Arguments(const py::args& values) : values_(values) {}

  template <class T>
  Arguments& operator>>(T& field) {
    PyObject* value = next();
    if constexpr (std::is_enum_v<T>) {
      field = static_cast<T>(integer(value));
    } else if constexpr (std::is_pointer_v<T>) {
      field = static_cast<T>(address(value));
    } else if constexpr (std::is_floating_point_v<T>) {
      field = PyFloat_AsDouble(value);
      if (PyErr_Occurred()) throw py::error_already_set();
    } else {
      const long long number = integer(value);
      field = static_cast<T>(number);
      if (static_cast<long long>(field) != number) throw py::value_error(std::to_string(number) + " is too large");
    }
    return *this;
  }

  Arguments& operator>>(PlaneParameter& p) { return *this >> p.data >> p.stride_n >> p.stride_c; }

  // Whether the next one is a tensor.
  bool tensor_is_next() const {
    return position_ < values_.size() && !PyLong_Check(PyTuple_GET_ITEM(values_.ptr(), position_));
  }
  PyObject* next() {
    if (position_ == values_.size()) throw py::type_error("too few arguments: " + std::to_string(position_));
    return PyTuple_GET_ITEM(values_.ptr(), static_cast<Py_ssize_t>(position_++));
  }

  void end() const {
    if (position_ != values_.size()) throw py::type_error("too many arguments: " + std::to_string(values_.size()));
  }

 private:
  static void* address(PyObject* value) {
    if (PyLong_Check(value)) return reinterpret_cast<void*>(static_cast<std::uintptr_t>(integer(value)));
    if (value == Py_None) return nullptr;
    tensors::View view;
    if (!tensors::host().view(value, view)) throw py::type_error("neither an address nor a tensor with memory");
    return view.start();
  }
  static long long integer(PyObject* value) {
    const long long number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred()) throw py::error_already_set();
    return number;
  }

  const py::args& values_;
  size_t position_ = 0;
};

tensors::AdaINTensors adain_tensors(Arguments& a) {
  return {a.next(), a.next(), a.next(), a.next(), a.next(), a.next()};  // in this order: a braced list
}

Arguments& operator>>(Arguments& a, AdaIN& op) {
  if (a.tensor_is_next()) {
    const tensors::AdaINTensors given = adain_tensors(a);
    a >> op.negative_slope >> op.eps >> op.output_negative_slope >> op.phases >> op.blur;
    if (!given.read_into(op)) throw py::value_error("adain: its kernels do not take these tensors as they are");
    return a;
  }
  return a >> op.dtype >> op.layout >> op.n >> op.c >> op.h >> op.w >> op.phases >> op.blur >> op.x >> op.scale >>
         op.shift >> op.noise >> op.noise_stride_n >> op.noise_strength >> op.bias >> op.negative_slope >> op.eps >>
         op.output_negative_slope;
}

// [2, N, C]: mean and rstd.
template <class Pointer>
void read_statistics(Arguments& a, const AdaIN& op, Pointer& mean, Pointer& rstd) {
  a >> mean;
  const int64_t bytes = op.n * op.c * (op.dtype == DType::f64 ? 8 : 4);
  rstd = mean ? reinterpret_cast<Pointer>(reinterpret_cast<std::uintptr_t>(mean) + bytes) : nullptr;
}

void read(Arguments& a, AdaINForward& f) {
  a >> f.op >> f.y;
  read_statistics(a, f.op, f.mean, f.rstd);
}

void read(Arguments& a, AdaINBackward& f) {
  a >> f.op >> f.dy;
  read_statistics(a, f.op, f.mean, f.rstd);
  a >> f.dx >> f.dscale >> f.dshift >> f.dbias >> f.dnoise_strength >> f.dnoise >>
      f.plane_sums;
}

Arguments& operator>>(Arguments& a, BiasAct& op) {
  return a >> op.dtype >> op.act >> op.size >> op.bias_step >> op.bias_size >> op.b >> op.b_is_acc >> op.alpha >> op.gain >> op.clamp;
}

void read(Arguments& a, BiasActForward& f) { a >> f.op >> f.x >> f.y; }
void read(Arguments& a, BiasActBackward& f) { a >> f.op >> f.dy >> f.x >> f.y >> f.dx >> f.db_partials; }
void read(Arguments& a, BiasActSecond& f) { a >> f.op >> f.ddx >> f.dy >> f.x >> f.y >> f.d2x; }

void read(Arguments& a, PhiloxNormal& p) { a >> p.n >> p.size >> p.seeds >> p.y; }

void read(Arguments& a, UpFirDn2d& u) {
  a >> u.dtype >> u.layout >> u.n >> u.c >> u.in_h >> u.in_w >> u.out_h >> u.out_w >> u.up_x >> u.up_y >> u.down_x >>
      u.down_y >> u.pad_x0 >> u.pad_x1 >> u.pad_y0 >> u.pad_y1 >> u.filter_h >> u.filter_w >> u.flip_filter >> u.gain >>
      u.x >> u.filter >> u.y;
}

void raise_unless_ok(Status status) {
  if (status == Status::ok) return;
  if (status == Status::invalid_argument) throw py::value_error(last_error());
  throw std::runtime_error(last_error());
}

// Place: int for the number of threads, void* for a stream.
template <class Struct, class Place>
void def(py::module_& m, const char* name, Status (*kernel)(const Struct&, Place)) {
  m.def(name, [kernel](const py::args& values) {
    Arguments arguments(values);
    Struct fields{};
    Place place;
    read(arguments, fields);
    if constexpr (std::is_same_v<Place, void*> &&
                  (std::is_same_v<Struct, AdaINForward> || std::is_same_v<Struct, AdaINBackward>)) {
      arguments >> fields.workspace;
    }
    arguments >> place;
    arguments.end();
    Status status;
    {
      py::gil_scoped_release released;
      status = kernel(fields, place);
    }
    raise_unless_ok(status);
  });
}

// A size that the caller needs beforehand: bytes of workspace, rows of partial sums.
template <class Struct>
void def_size(py::module_& m, const char* name, int64_t (*size)(const Struct&)) {
  m.def(name, [size](const py::args& values) {
    Arguments arguments(values);
    Struct fields{};
    read(arguments, fields);
    arguments.end();
    return size(fields);
  });
}

void bind_cpu(py::module_ m) {
  m.def("capability", &cpu::capability);
  m.def("set_capability", [](const std::string& name) {
    if (!cpu::set_capability(name.c_str())) throw py::value_error("this machine or build has no " + name + " kernels");
  });
  m.def("use_pool_of", [](const std::string& library) { return cpu::use_pool_of(library.c_str()); });
  def(m, "adain_forward", &cpu::adain_forward);
  def(m, "adain_backward", &cpu::adain_backward);
  def(m, "philox_normal", &cpu::philox_normal);
  def(m, "bias_act_forward", &cpu::bias_act_forward);
  def_size(m, "bias_act_backward_partials", &cpu::bias_act_backward_partials);
  def(m, "bias_act_backward", &cpu::bias_act_backward);
  def(m, "bias_act_second", &cpu::bias_act_second);
  def(m, "upfirdn2d", &cpu::upfirdn2d);
}

#ifdef STYLEGAN_FAST_WITH_CUDA
int version(cudaError_t (*get)(int*)) {
  int number = 0;
  if (cudaError_t error = get(&number); error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
  return number;
}

void bind_cuda(py::module_ m) {
  m.def("driver_version", [] { return version(cudaDriverGetVersion); });
  m.def("runtime_version", [] { return version(cudaRuntimeGetVersion); });
  def_size(m, "adain_forward_workspace", &cuda::adain_forward_workspace);
  def_size(m, "adain_backward_workspace", &cuda::adain_backward_workspace);
  def_size(m, "bias_act_backward_partials", &cuda::bias_act_backward_partials);
  def(m, "adain_forward", &cuda::adain_forward);
  def(m, "adain_backward", &cuda::adain_backward);
  def(m, "philox_normal", &cuda::philox_normal);
  def(m, "bias_act_forward", &cuda::bias_act_forward);
  def(m, "bias_act_backward", &cuda::bias_act_backward);
  def(m, "bias_act_second", &cuda::bias_act_second);
  def(m, "upfirdn2d", &cuda::upfirdn2d);
}
#endif

}  // namespace

PYBIND11_MODULE(_stylegan_fast, m) {
  m.doc() = "The kernels of csrc/, for stylegan_fast.ops.library.";
  m.attr("sources") = STYLEGAN_FAST_SOURCES;  // fingerprint of csrc/
  m.def("read_tensors", [](const py::capsule& api, const py::args& types) { return tensors::host().use(api, types); });
  m.def("adain_takes", [](const py::args& values) {
    Arguments arguments(values);
    const tensors::AdaINTensors given = adain_tensors(arguments);
    AdaIN op{};
    arguments >> op.phases;
    arguments.end();
    return given.are_plain() && given.read_into(op);
  });
  m.def("bias_act_takes", [](const py::args& values) {
    Arguments arguments(values);
    PyObject *x = arguments.next(), *b = arguments.next();
    arguments.end();
    return tensors::bias_act_takes(x, b);
  });
  bind_cpu(m.def_submodule("cpu"));
#ifdef STYLEGAN_FAST_WITH_CUDA
  m.attr("with_cuda") = true;
  m.attr("cuda_archs") = STYLEGAN_FAST_CUDA_ARCHS;
  bind_cuda(m.def_submodule("cuda"));
#else
  m.attr("with_cuda") = false;
  m.attr("cuda_archs") = "";
#endif
}
