// Runs one op of csrc/cuda in the emulator. stdin: lines, an `input` line followed by its bytes:
//
//   op NAME                       an entry point of api.h, namespace cuda
//   number FIELD VALUE            a field of its struct; scale.stride_n and the like with a dot. capability and
//                                 clusters_fit, where given, are the device's
//   input FIELD BYTES OFFSET      a tensor, OFFSET bytes into its allocation
//   output FIELD BYTES OFFSET     likewise, poisoned with 0xff; every byte is written back on stdout
//
// stdout: "STATUS last_error\n", then the outputs in their order. The op runs once under each schedule; exit status 1
// and one line on stderr if the two do not agree to the bit, or if an input or the bytes before a tensor were changed.
// Allocations are exact, so that the address sanitizer sees one element beyond.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "api.h"
#include "machine.h"

using namespace stylegan_fast;

namespace {

struct Tensor {
  std::string field;
  bool input;
  size_t bytes, offset;
  std::vector<char> content;
  char* memory = nullptr;

  void allocate() {
    memory = static_cast<char*>(std::malloc(offset + bytes));
    std::memset(memory, 0xab, offset);
    if (input) std::copy(content.begin(), content.end(), memory + offset);
    else std::memset(memory + offset, 0xff, bytes);
  }

  const char* complaint() const {
    for (size_t i = 0; i < offset; ++i)
      if (memory[i] != char(0xab)) return "was written before its beginning";
    if (input && !std::equal(content.begin(), content.end(), memory + offset)) return "is an input and was changed";
    return nullptr;
  }
};

std::map<std::string, double> numbers;
std::vector<Tensor> tensors;

double number(const std::string& field) {
  const auto found = numbers.find(field);
  if (found == numbers.end()) {
    std::cerr << "driver: the case has no number " << field << "\n";
    std::exit(2);
  }
  return found->second;
}

int64_t integer(const std::string& field) { return int64_t(number(field)); }

void* tensor(const std::string& field) {
  for (Tensor& t : tensors)
    if (t.field == field) return t.memory + t.offset;
  return nullptr;
}

AdaIN read_adain() {
  AdaIN op{};
  op.dtype = DType(integer("dtype"));
  op.layout = Layout(integer("layout"));
  op.n = integer("n"), op.c = integer("c"), op.h = integer("h"), op.w = integer("w");
  op.phases = integer("phases") != 0, op.blur = integer("blur") != 0;
  op.x = tensor("x");
  op.scale = {tensor("scale"), integer("scale.stride_n"), integer("scale.stride_c")};
  op.shift = {tensor("shift"), integer("shift.stride_n"), integer("shift.stride_c")};
  op.noise = tensor("noise");
  op.noise_stride_n = integer("noise_stride_n");
  op.noise_strength = tensor("noise_strength");
  op.bias = tensor("bias");
  op.negative_slope = number("negative_slope"), op.eps = number("eps");
  op.output_negative_slope = number("output_negative_slope");
  return op;
}

BiasAct read_bias_act() {
  BiasAct op{};
  op.dtype = DType(integer("dtype"));
  op.act = Activation(integer("act"));
  op.size = integer("size"), op.bias_step = integer("bias_step"), op.bias_size = integer("bias_size");
  op.b = tensor("b"), op.b_is_acc = !numbers.count("b_is_acc") || number("b_is_acc") != 0;
  op.alpha = number("alpha"), op.gain = number("gain"), op.clamp = number("clamp");
  return op;
}

UpFirDn2d read_upfirdn2d() {
  UpFirDn2d op{};
  op.dtype = DType(integer("dtype"));
  op.layout = Layout(integer("layout"));
  op.n = integer("n"), op.c = integer("c"), op.in_h = integer("in_h"), op.in_w = integer("in_w");
  op.out_h = integer("out_h"), op.out_w = integer("out_w");
  op.up_x = int(integer("up_x")), op.up_y = int(integer("up_y"));
  op.down_x = int(integer("down_x")), op.down_y = int(integer("down_y"));
  op.pad_x0 = int(integer("pad_x0")), op.pad_x1 = int(integer("pad_x1"));
  op.pad_y0 = int(integer("pad_y0")), op.pad_y1 = int(integer("pad_y1"));
  op.filter_h = int(integer("filter_h")), op.filter_w = int(integer("filter_w"));
  op.flip_filter = integer("flip_filter") != 0;
  op.gain = number("gain");
  op.x = tensor("x"), op.filter = tensor("filter"), op.y = tensor("y");
  return op;
}

Status run(const std::string& op) {
  if (op == "adain_forward") {
    AdaINForward p{read_adain(), tensor("y"), tensor("mean"), tensor("rstd"), nullptr};
    const size_t bytes = size_t(cuda::adain_forward_workspace(p));
    std::vector<char> workspace(bytes, char(0xff));
    p.workspace = bytes ? workspace.data() : nullptr;
    return cuda::adain_forward(p, nullptr);
  }
  if (op == "adain_backward") {
    AdaINBackward p{read_adain(),     tensor("dy"),     tensor("mean"),  tensor("rstd"),
                    tensor("dx"),     tensor("dscale"), tensor("dshift"), tensor("dbias"),
                    tensor("dnoise_strength"), tensor("dnoise"), nullptr, nullptr};
    const size_t acc = p.op.dtype == DType::f64 ? 8 : 4;
    std::vector<char> plane_sums(size_t(2 * p.op.n * p.op.c) * acc, char(0xff));
    if (p.op.n > 1 && (p.dbias || p.dnoise_strength)) p.plane_sums = plane_sums.data();
    const size_t bytes = size_t(cuda::adain_backward_workspace(p));
    std::vector<char> workspace(bytes, char(0xff));
    p.workspace = bytes ? workspace.data() : nullptr;
    return cuda::adain_backward(p, nullptr);
  }
  if (op == "bias_act_forward") return cuda::bias_act_forward({read_bias_act(), tensor("x"), tensor("y")}, nullptr);
  if (op == "bias_act_backward") {
    const BiasActBackward p{read_bias_act(), tensor("dy"), tensor("x"), tensor("y"), tensor("dx"), tensor("db_partials")};
    if (p.db_partials && cuda::bias_act_backward_partials(p) != integer("partials")) {
      std::cerr << "driver: " << cuda::bias_act_backward_partials(p) << " rows of partial sums\n";
      std::exit(3);
    }
    return cuda::bias_act_backward(p, nullptr);
  }
  if (op == "bias_act_second")
    return cuda::bias_act_second(
        {read_bias_act(), tensor("ddx"), tensor("dy"), tensor("x"), tensor("y"), tensor("d2x")}, nullptr);
  if (op == "philox_normal") {
    const auto* seeds = static_cast<const int64_t*>(tensor("seeds"));
    return cuda::philox_normal({integer("n"), integer("size"), seeds, static_cast<float*>(tensor("y"))}, nullptr);
  }
  if (op == "upfirdn2d") return cuda::upfirdn2d(read_upfirdn2d(), nullptr);
  std::cerr << "driver: there is no op " << op << "\n";
  std::exit(2);
}

Status run_under(emulator::Schedule schedule, const std::string& op) {
  emulator::schedule = schedule;
  for (Tensor& t : tensors) t.allocate();
  const Status status = run(op);
  for (const Tensor& t : tensors) {
    const char* complaint = t.complaint();
    if (!complaint) continue;
    std::cerr << "driver: " << t.field << " " << complaint << "\n";
    std::exit(1);
  }
  return status;
}

std::string read_case() {
  std::string line, op;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string kind, name;
    words >> kind >> name;
    if (kind == "op") {
      op = name;
    } else if (kind == "number") {
      words >> numbers[name];
    } else {
      Tensor t{name, kind == "input", 0, 0, {}};
      words >> t.bytes >> t.offset;
      if (t.input) {
        t.content.resize(t.bytes);
        std::cin.read(t.content.data(), std::streamsize(t.bytes));
      }
      tensors.push_back(t);
    }
  }
  return op;
}

}  // namespace

int main() {
  const std::string op = read_case();
  if (numbers.count("capability")) emulator::capability = int(number("capability"));
  if (numbers.count("clusters_fit")) emulator::clusters_fit = number("clusters_fit") != 0;
  const Status status = run_under(emulator::Schedule::reverse, op);
  std::vector<std::vector<char>> reversed;
  for (Tensor& t : tensors) {
    reversed.emplace_back(t.memory + t.offset, t.memory + t.offset + t.bytes);
    std::free(t.memory);
  }
  run_under(emulator::Schedule::forward, op);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (std::equal(reversed[i].begin(), reversed[i].end(), tensors[i].memory + tensors[i].offset)) continue;
    std::cerr << "driver: " << tensors[i].field << " differs between the two schedules\n";
    return 1;
  }
  std::cout << int(status) << " " << last_error() << "\n";
  for (const Tensor& t : tensors)
    if (!t.input) std::cout.write(t.memory + t.offset, std::streamsize(t.bytes));
  return 0;
}
