// cuBLASLt as a thing to be measured: loaded at run time, never linked.
#include "cuda/cublaslt.hpp"

#include <cublasLt.h>
#include <dlfcn.h>

#include "cuda/buffer.hpp"
#include "cuda/cublaslt_run.hpp"

namespace fp8scope::cuda {
namespace {

// By number: headers before CUDA 12.9 do not name them, libraries before it refuse them.
constexpr auto scale_mode_a = static_cast<cublasLtMatmulDescAttributes_t>(31), scale_mode_b = static_cast<cublasLtMatmulDescAttributes_t>(32);
constexpr std::int32_t one_scale = 0, scales_1x128 = 4, scales_128x128 = 5;

/// The library's functions that are used here.
struct Library {
  void* handle = nullptr;
  std::string refusal;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) get_version = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;

  Library() {
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
      if (handle == nullptr) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      refusal = "libcublasLt.so.13 was not found (LD_LIBRARY_PATH)";
      return;
    }
    load(create, "cublasLtCreate"), load(destroy, "cublasLtDestroy"), load(get_version, "cublasLtGetVersion");
    load(matmul, "cublasLtMatmul"), load(desc_create, "cublasLtMatmulDescCreate"), load(desc_destroy, "cublasLtMatmulDescDestroy");
    load(desc_set, "cublasLtMatmulDescSetAttribute"), load(layout_create, "cublasLtMatrixLayoutCreate");
    load(layout_destroy, "cublasLtMatrixLayoutDestroy"), load(preference_create, "cublasLtMatmulPreferenceCreate");
    load(preference_destroy, "cublasLtMatmulPreferenceDestroy"), load(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    load(heuristic, "cublasLtMatmulAlgoGetHeuristic");
  }

 private:
  template <class F>
  void load(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(handle, name));
    if (function == nullptr) refusal = std::string("the cuBLASLt that was found has no ") + name;
  }
};

const Library& library() {
  static const Library loaded;
  return loaded;
}

void check_lt(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw DeviceError(std::string("cuBLASLt, ") + what + ": status " + std::to_string(status));
}

cudaDataType type_of(const Format& f) { return f == e5m2 ? CUDA_R_8F_E5M2 : CUDA_R_8F_E4M3; }

/// Closes what it owns.
template <class T, class Destroy>
struct Owner {
  T value{};
  Destroy destroy;
  explicit Owner(Destroy d) : destroy(d) {}
  ~Owner() {
    if (value != T{}) destroy(value);
  }
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
};

int scale_mode(const BlockGrid& grid) {
  if (grid.blocks() == 1) return one_scale;
  if (grid.block_cols == 128 && grid.block_rows == 1) return scales_1x128;
  if (grid.block_cols == 128 && grid.block_rows == 128) return scales_128x128;
  throw DeviceError("cuBLASLt has no scales of " + std::to_string(grid.block_rows) + "x" + std::to_string(grid.block_cols) + " blocks");
}

/// Scales in the library's order: of 1x128 blocks rows are next to each other; of 128x128 blocks the blocks
/// of K are, four to a padded row.
std::vector<float> library_scales(const ScaledMatrix& m) {
  const BlockGrid grid = m.grid();
  if (grid.blocks() == 1) return {m.scale_inv[0]};
  std::vector<float> out;
  if (grid.block_rows == 1) {
    for (std::int64_t k = 0; k < m.k; k += 128)
      for (std::int64_t r = 0; r < m.rows; ++r) out.push_back(m.scale(r, k));
    return out;
  }
  const std::int64_t across = grid.across(), padded = (across + 3) / 4 * 4;
  for (std::int64_t r = 0; r < grid.down(); ++r)
    for (std::int64_t c = 0; c < padded; ++c) out.push_back(c < across ? m.scale_inv[static_cast<std::size_t>(r * across + c)] : 0.0f);
  return out;
}

}  // namespace

/// A product with its operands on the device.
struct LibraryProduct::State {
  Buffer<std::uint8_t> a, b, workspace;
  Buffer<float> scale_a, scale_b, d;
  Owner<cublasLtHandle_t, decltype(library().destroy)> handle{library().destroy};
  Owner<cublasLtMatmulDesc_t, decltype(library().desc_destroy)> desc{library().desc_destroy};
  Owner<cublasLtMatrixLayout_t, decltype(library().layout_destroy)> left{library().layout_destroy}, right{library().layout_destroy}, out{library().layout_destroy};
  cublasLtMatmulHeuristicResult_t algorithm{};
  bool bf16_output = false;
};

LibraryProduct::LibraryProduct(const ScaledMatrix& a, const ScaledMatrix& b, const LibraryRequest& request, int device) : state_(std::make_unique<State>()) {
  use_device(device);
  const Library& lt = library();
  if (!lt.refusal.empty()) throw DeviceError(lt.refusal);
  State& s = *state_;
  const std::vector<std::uint8_t> a_codes(a.codes.begin(), a.codes.begin() + a.rows * a.k), b_codes(b.codes.begin(), b.codes.begin() + b.rows * b.k);
  s.a = Buffer<std::uint8_t>(std::span<const std::uint8_t>(a_codes)), s.b = Buffer<std::uint8_t>(std::span<const std::uint8_t>(b_codes));
  const std::vector<float> sa = library_scales(a), sb = library_scales(b);
  s.scale_a = Buffer<float>(std::span<const float>(sa)), s.scale_b = Buffer<float>(std::span<const float>(sb));
  s.d = Buffer<float>(static_cast<std::size_t>(a.rows * b.rows));
  constexpr std::size_t workspace = std::size_t{32} << 20;
  s.workspace = Buffer<std::uint8_t>(workspace);
  s.bf16_output = request.bf16_output;
  check_lt(lt.create(&s.handle.value), "create");
  check_lt(lt.desc_create(&s.desc.value, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe");
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check_lt(lt.desc_set(s.desc.value, attribute, &value, sizeof(value)), "set an attribute");
  };
  // Column-major D^T = B A^T: the library's first operand is our B, [k, n] transposed, its second our A.
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T), set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  const std::int8_t fast = request.fast_accumulation ? 1 : 0;
  set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
  const std::int32_t mode_b = scale_mode(b.grid()), mode_a = scale_mode(a.grid());
  set(scale_mode_a, mode_b), set(scale_mode_b, mode_a);
  const void *pointer_a = s.scale_a.get(), *pointer_b = s.scale_b.get();
  set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, pointer_b), set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, pointer_a);
  const auto extent = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
  check_lt(lt.layout_create(&s.left.value, type_of(b.format), extent(b.k), extent(b.rows), b.k), "lay out B");
  check_lt(lt.layout_create(&s.right.value, type_of(a.format), extent(a.k), extent(a.rows), a.k), "lay out A");
  check_lt(lt.layout_create(&s.out.value, request.bf16_output ? CUDA_R_16BF : CUDA_R_32F, extent(b.rows), extent(a.rows), b.rows), "lay out D");
  Owner<cublasLtMatmulPreference_t, decltype(lt.preference_destroy)> preference(lt.preference_destroy);
  check_lt(lt.preference_create(&preference.value), "prefer");
  check_lt(lt.preference_set(preference.value, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace)), "prefer");
  int found = 0;
  check_lt(lt.heuristic(s.handle.value, s.desc.value, s.left.value, s.right.value, s.out.value, s.out.value, preference.value, 1, &s.algorithm, &found),
           "find an algorithm");
  if (found == 0) throw DeviceError("cuBLASLt has no algorithm for this product");
}

LibraryProduct::~LibraryProduct() = default;

void LibraryProduct::launch() const {
  const State& s = *state_;
  const float one = 1.0f, zero = 0.0f;
  check_lt(library().matmul(s.handle.value, s.desc.value, &one, s.b.get(), s.left.value, s.a.get(), s.right.value, &zero, s.d.get(), s.out.value,
                            s.d.get(), s.out.value, &s.algorithm.algo, s.workspace.get(), s.workspace.size(), nullptr),
           "multiply");
}

void LibraryProduct::download(std::span<float> d) const {
  const State& s = *state_;
  if (!s.bf16_output) return s.d.download(d);
  std::vector<float> words((d.size() + 1) / 2);
  s.d.download(words);
  for (std::size_t i = 0; i < d.size(); ++i) d[i] = bits_float((float_bits(words[i / 2]) >> (i % 2 * 16) & 0xffffu) << 16);
}

std::string cublaslt_refusal() { return library().refusal; }

std::string cublaslt_version() {
  const std::size_t v = library().get_version();
  return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
}

void cublaslt_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const LibraryRequest& request, std::span<float> d, int device) {
  const LibraryProduct product(a, b, request, device);
  product.launch();
  product.download(d.first(static_cast<std::size_t>(a.rows * b.rows)));
}

}  // namespace fp8scope::cuda
