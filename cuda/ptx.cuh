#pragma once
// One function per Hopper instruction. Only code for sm_90a may call them.

#include <cuda.h>

#include <cstdint>

#include "cuda/wgmma_layout.hpp"

namespace fp8scope::cuda::ptx {

__device__ __forceinline__ std::uint32_t shared_address(const void* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

/// What ordinary stores wrote to shared memory becomes visible to wgmma.
__device__ __forceinline__ void fence_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
/// The compiler must not move a register's uses across this.
__device__ __forceinline__ void pin(float& r) { asm volatile("" : "+f"(r)::"memory"); }
__device__ __forceinline__ void pin(std::uint32_t& r) { asm volatile("" : "+r"(r)::"memory"); }

__device__ __forceinline__ void barrier_init(std::uint64_t* b, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barrier_fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_expect(std::uint64_t* b, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_arrive(std::uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
/// Waits for the end of the phase of this parity.
__device__ __forceinline__ void barrier_wait(std::uint64_t* b, std::uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra over;\nbra again;\nover:\n}\n" ::"r"(shared_address(b)), "r"(parity) : "memory");
}
/// Box of a tensor at (x, y) into shared memory; its bytes count at the barrier.
__device__ __forceinline__ void tma_load(void* to, const CUtensorMap* map, std::uint64_t* barrier, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                   shared_address(to)), "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y) : "memory");
}
__device__ __forceinline__ void bulk_load(void* to, const void* from, std::uint32_t bytes, std::uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
}
template <int Registers>
__device__ __forceinline__ void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers)); }
template <int Registers>
__device__ __forceinline__ void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers)); }
__device__ __forceinline__ bool elect_one() {
  std::uint32_t elected;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}\n" : "=r"(elected));
  return elected != 0;
}

// wgmma with A from shared memory: d (+)= A B^T. SHAPE "m64n8k32.f32.e4m3.e4m3"; TAIL the immediates behind
// the predicate: ", 1, 1" and, of 16-bit operands, the two transpositions. LIST names the registers of d; A, B and the
// predicate's word follow them.
#define FP8SCOPE_WGMMA_ASM(SHAPE, TAIL, LIST, A, B, WORD) \
  "{\n.reg .pred p;\nsetp.ne.b32 p, " WORD ", 0;\nwgmma.mma_async.sync.aligned." SHAPE " {" LIST "}, " A ", " B ", p" TAIL ";\n}\n"
#define FP8SCOPE_WGMMA_INPUTS "l"(a), "l"(b), "r"(accumulate)

#define FP8SCOPE_D2(C, i) C(d[i]), C(d[i + 1])
#define FP8SCOPE_D4(C, i) FP8SCOPE_D2(C, i), FP8SCOPE_D2(C, i + 2)
#define FP8SCOPE_D16(C, i) FP8SCOPE_D4(C, i), FP8SCOPE_D4(C, i + 4), FP8SCOPE_D4(C, i + 8), FP8SCOPE_D4(C, i + 12)
#define FP8SCOPE_D64(C, i) FP8SCOPE_D16(C, i), FP8SCOPE_D16(C, i + 16), FP8SCOPE_D16(C, i + 32), FP8SCOPE_D16(C, i + 48)
#define FP8SCOPE_R64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, " \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define FP8SCOPE_R128 \
  FP8SCOPE_R64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, " \
  "%85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, " \
  "%106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, " \
  "%125, %126, %127"

#define FP8SCOPE_WGMMA_N8(SHAPE, TAIL) \
  asm volatile(FP8SCOPE_WGMMA_ASM(SHAPE, TAIL, "%0, %1, %2, %3", "%4", "%5", "%6") : FP8SCOPE_D4("+f", 0) : FP8SCOPE_WGMMA_INPUTS)
#define FP8SCOPE_WGMMA_N8_HALF(SHAPE, TAIL) \
  asm volatile(FP8SCOPE_WGMMA_ASM(SHAPE, TAIL, "%0, %1", "%2", "%3", "%4") : FP8SCOPE_D2("+r", 0) : FP8SCOPE_WGMMA_INPUTS)
#define FP8SCOPE_WGMMA_N128(SHAPE, TAIL) \
  asm volatile(FP8SCOPE_WGMMA_ASM(SHAPE, TAIL, FP8SCOPE_R64, "%64", "%65", "%66") : FP8SCOPE_D64("+f", 0) : FP8SCOPE_WGMMA_INPUTS)
#define FP8SCOPE_WGMMA_N256(SHAPE, TAIL) \
  asm volatile(FP8SCOPE_WGMMA_ASM(SHAPE, TAIL, FP8SCOPE_R128, "%128", "%129", "%130") : FP8SCOPE_D64("+f", 0), FP8SCOPE_D64("+f", 64) : FP8SCOPE_WGMMA_INPUTS)

}  // namespace fp8scope::cuda::ptx
