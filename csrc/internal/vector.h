/* A SIMD vector of `real`, for every instruction set: LANES elements in VECTOR_BYTES bytes.
   The compiler's vector extension provides the operators (a + b, a * 2). This file has a function for everything else.
   A file defines REAL_BITS and, for AVX, VECTOR_AVX2 or VECTOR_AVX512 before it includes this one.
   For compilers without the extension (MSVC, tcc), a vector is one element, and the kernels are the same. */
#ifndef ZERODL_VECTOR_H
#define ZERODL_VECTOR_H

#include "real.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#if HAVE_GNU_C && defined __aarch64__
#include <arm_neon.h>
#elif HAVE_GNU_C && defined __SSE2__
#include <emmintrin.h>
#endif

#if defined VECTOR_AVX512
#define VECTOR_BYTES 64
#elif defined VECTOR_AVX2
#define VECTOR_BYTES 32
#elif HAVE_GNU_C
#define VECTOR_BYTES 16
#else
#define VECTOR_BYTES (REAL_BITS / 8)
#endif

#define LANES (VECTOR_BYTES * 8 / REAL_BITS)

#if HAVE_GNU_C
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef unsigned_integer uvec __attribute__((vector_size(VECTOR_BYTES)));
ALWAYS_INLINE ivec as_integer(vec v) { return (ivec)v; }
ALWAYS_INLINE vec as_real(ivec v) { return (vec)v; }
/* x - 0 is x even if x is -0.0, for which x + 0 would be 0. */
ALWAYS_INLINE vec broadcast(real x) { return x - (vec){0}; }
ALWAYS_INLINE real first_lane(vec v) { return v[0]; }
#else
#ifdef _MSC_VER
#define ALWAYS_INLINE static __forceinline
#else
#define ALWAYS_INLINE static inline
#endif
#define UNROLL
#define UNROLL_BY_4
typedef real vec;
typedef integer ivec;
typedef unsigned_integer uvec;
ALWAYS_INLINE ivec as_integer(vec v)
{
    ivec i;
    memcpy(&i, &v, sizeof i);
    return i;
}
ALWAYS_INLINE vec as_real(ivec i)
{
    vec v;
    memcpy(&v, &i, sizeof v);
    return v;
}
ALWAYS_INLINE vec broadcast(real x) { return x; }
ALWAYS_INLINE real first_lane(vec v) { return v; }
#endif

#if HAVE_GNU_C
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) (void)(p)
#endif

/* Without this, gcc may load v from memory again for each use, which is slower if the address is not aligned. */
#if HAVE_GNU_C && !defined __clang__ && defined __AVX__
#define KEEP_IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define KEEP_IN_REGISTER(v) (void)(v)
#endif

/* Hides from clang that pointers advance together. Otherwise it replaces them by one index and a pointer for each use,
   which do not fit the registers. */
#ifdef __clang__
#define HIDE_ADVANCE(pointer) __asm__("" : "+r"(pointer))
#else
#define HIDE_ADVANCE(pointer) (void)(pointer)
#endif

/* a + (b << shift), in unsigned arithmetic, because the bits of a nan may overflow. */
ALWAYS_INLINE ivec add_shifted(ivec a, ivec b, int shift) { return (ivec)((uvec)a + ((uvec)b << shift)); }

/* Adding 1.5 * 2^MANTISSA_BITS to a number rounds it to an integer, which is then in the low bits of the sum. */
#define ROUNDER ((real)1.5 * (real)((int64_t)1 << MANTISSA_BITS))

ALWAYS_INLINE vec load(const real *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
ALWAYS_INLINE void store(real *p, vec v) { memcpy(p, &v, sizeof v); }

/* Each instruction set defines these functions:
     less, less_equal, equal(a, b)   a mask for each lane; false for nan
     choose(mask, a, b)              a where the mask is set, else b
     any(mask)                       whether the mask is set in any lane
     multiply_add(a, b, c)           a * b + c. FUSED is 1 if it is rounded once, 0 if twice
     square_root(v)                  rounded correctly; nan below 0
     maximum, minimum(a, b)          a > b ? a : b and a < b ? a : b in each lane, so b if either is nan
     scale(v, n)                     v * 2^n for integral n, even if 2^n alone would overflow or underflow
     load_part(p, n)                 the first n < LANES elements, then 0; load_part_or(p, n, other): then `other`
     store_part(p, v, n)             stores the first n < LANES elements alone
     keep_part(v, n)                 sets all but the first n < LANES elements to 0
   load_up_to, load_up_to_or, store_up_to and keep_up_to are the same for the first min(n, LANES) elements. */

#if defined VECTOR_AVX2 || defined VECTOR_AVX512 || (HAVE_GNU_C && defined __aarch64__)
#define FUSED 1
#else
#define FUSED 0
#endif

#if defined VECTOR_AVX512

#if REAL_BITS == 64
#define SIMD(op) _mm512_##op##_pd
#define SIMD_HALF(op) _mm256_##op##_pd
#define widened(h) _mm512_zextpd256_pd512(h)
#define SIMD_COMPARE _mm512_cmp_pd_mask
typedef __mmask8 mask;
/* table[index % 8] in each lane */
#define HAVE_LOOKUP8 1
ALWAYS_INLINE ivec lookup8(const integer *table, ivec index)
{
    return (ivec)_mm512_permutexvar_epi64((__m512i)index, _mm512_loadu_si512(table));
}
#else
#define SIMD(op) _mm512_##op##_ps
#define SIMD_HALF(op) _mm256_##op##_ps
#define widened(h) _mm512_zextps256_ps512(h)
#define SIMD_COMPARE _mm512_cmp_ps_mask
typedef __mmask16 mask;
#endif
ALWAYS_INLINE mask less(vec a, vec b) { return SIMD_COMPARE(a, b, _CMP_LT_OQ); }
ALWAYS_INLINE mask less_equal(vec a, vec b) { return SIMD_COMPARE(a, b, _CMP_LE_OQ); }
ALWAYS_INLINE mask equal(vec a, vec b) { return SIMD_COMPARE(a, b, _CMP_EQ_OQ); }
ALWAYS_INLINE vec choose(mask m, vec a, vec b) { return SIMD(mask_blend)(m, b, a); }
ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return SIMD(fmadd)(a, b, c); }
ALWAYS_INLINE vec square_root(vec v) { return SIMD(sqrt)(v); }
ALWAYS_INLINE vec maximum(vec a, vec b) { return SIMD(max)(a, b); }
ALWAYS_INLINE vec minimum(vec a, vec b) { return SIMD(min)(a, b); }
ALWAYS_INLINE vec scale(vec v, vec n) { return SIMD(scalef)(v, n); }
ALWAYS_INLINE bool any(mask m) { return m != 0; }
ALWAYS_INLINE mask first(ptrdiff_t n) { return (mask)((1u << n) - 1); }
ALWAYS_INLINE vec load_part_or(const real *p, ptrdiff_t n, vec other) { return SIMD(mask_loadu)(other, first(n), p); }
ALWAYS_INLINE void store_part(real *p, vec v, ptrdiff_t n) { SIMD(mask_storeu)(p, first(n), v); }
ALWAYS_INLINE vec keep_part(vec v, ptrdiff_t n) { return SIMD(maskz_mov)(first(n), v); }

/* The lower half of a vector; widened(h) has zeros above it. */
typedef real half_vec __attribute__((vector_size(VECTOR_BYTES / 2)));
ALWAYS_INLINE half_vec load_half(const real *p) { return SIMD_HALF(loadu)(p); }
ALWAYS_INLINE half_vec broadcast_half(real x) { return SIMD_HALF(set1)(x); }
ALWAYS_INLINE half_vec multiply_add_half(half_vec a, half_vec b, half_vec c) { return SIMD_HALF(fmadd)(a, b, c); }

#else

#if HAVE_GNU_C
typedef ivec mask;
ALWAYS_INLINE vec choose(mask m, vec a, vec b) { return as_real((m & as_integer(a)) | (~m & as_integer(b))); }
#else
typedef int mask;
ALWAYS_INLINE vec choose(mask m, vec a, vec b) { return m ? a : b; }
ALWAYS_INLINE bool any(mask m) { return m; }
#endif
ALWAYS_INLINE mask less(vec a, vec b) { return a < b; }
ALWAYS_INLINE mask less_equal(vec a, vec b) { return a <= b; }
ALWAYS_INLINE mask equal(vec a, vec b) { return a == b; }

#if defined VECTOR_AVX2
ALWAYS_INLINE bool any(mask m) { return _mm256_movemask_epi8((__m256i)m) != 0; }
#if REAL_BITS == 64
#define SIMD(op) _mm256_##op##_pd
#else
#define SIMD(op) _mm256_##op##_ps
#endif
ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return SIMD(fmadd)(a, b, c); }
ALWAYS_INLINE vec square_root(vec v) { return SIMD(sqrt)(v); }
ALWAYS_INLINE vec maximum(vec a, vec b) { return SIMD(max)(a, b); }
ALWAYS_INLINE vec minimum(vec a, vec b) { return SIMD(min)(a, b); }
ALWAYS_INLINE __m256i first(ptrdiff_t n)
{
    static const integer ones_then_zeros[2 * LANES] = {[0 ... LANES - 1] = -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + LANES - n));
}
ALWAYS_INLINE vec load_part_or(const real *p, ptrdiff_t n, vec other)
{
    return choose((mask)first(n), SIMD(maskload)(p, first(n)), other);
}
ALWAYS_INLINE void store_part(real *p, vec v, ptrdiff_t n) { SIMD(maskstore)(p, first(n), v); }
ALWAYS_INLINE vec keep_part(vec v, ptrdiff_t n) { return as_real(as_integer(v) & (ivec)first(n)); }

#else

#if HAVE_GNU_C
ALWAYS_INLINE bool any(mask m)
{
    integer bits = 0;
    UNROLL for (int i = 0; i < LANES; i++)
        bits |= m[i];
    return bits != 0;
}
#endif
#if HAVE_GNU_C && defined __aarch64__
#if REAL_BITS == 64
#define SIMD(op) v##op##q_f64
typedef float64x2_t neon;
#else
#define SIMD(op) v##op##q_f32
typedef float32x4_t neon;
#endif
ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return (vec)SIMD(fma)((neon)c, (neon)a, (neon)b); }
ALWAYS_INLINE vec square_root(vec v) { return (vec)SIMD(sqrt)((neon)v); }
#else
ALWAYS_INLINE vec multiply_add(vec a, vec b, vec c) { return a * b + c; }
#if HAVE_GNU_C && defined __SSE2__ && REAL_BITS == 64
ALWAYS_INLINE vec square_root(vec v) { return (vec)_mm_sqrt_pd((__m128d)v); }
#elif HAVE_GNU_C && defined __SSE2__
ALWAYS_INLINE vec square_root(vec v) { return (vec)_mm_sqrt_ps((__m128)v); }
#else
ALWAYS_INLINE vec square_root(vec v)
{
    real lane[LANES];
    store(lane, v);
    for (int i = 0; i < LANES; i++)
        lane[i] = (real)sqrt(lane[i]); /* for float, rounding twice gives the same result */
    return load(lane);
}
#endif
#endif
ALWAYS_INLINE vec maximum(vec a, vec b) { return choose(less(b, a), a, b); }
ALWAYS_INLINE vec minimum(vec a, vec b) { return choose(less(a, b), a, b); }
ALWAYS_INLINE vec load_part_or(const real *p, ptrdiff_t n, vec other)
{
    real lane[LANES];
    store(lane, other);
    for (ptrdiff_t i = 0; i < n; i++)
        lane[i] = p[i];
    return load(lane);
}
ALWAYS_INLINE void store_part(real *p, vec v, ptrdiff_t n)
{
    real lane[LANES];
    store(lane, v);
    for (ptrdiff_t i = 0; i < n; i++)
        p[i] = lane[i];
}
ALWAYS_INLINE vec keep_part(vec v, ptrdiff_t n)
{
    real lane[LANES];
    store(lane, v);
    return load_part_or(lane, n, broadcast(0));
}
#endif

ALWAYS_INLINE vec power_of_two(vec n)
{
    ivec exponent = as_integer(n + broadcast(ROUNDER)) - as_integer(broadcast(ROUNDER));
    return as_real((exponent + EXPONENT_BIAS) << MANTISSA_BITS);
}

ALWAYS_INLINE vec scale(vec v, vec n)
{
    vec half = (n * (real)0.5 + ROUNDER) - ROUNDER;
    return v * power_of_two(half) * power_of_two(n - half);
}

#endif

ALWAYS_INLINE vec load_part(const real *p, ptrdiff_t n) { return load_part_or(p, n, broadcast(0)); }
ALWAYS_INLINE vec load_up_to_or(const real *p, ptrdiff_t n, vec other)
{
    return n < LANES ? load_part_or(p, n, other) : load(p);
}
ALWAYS_INLINE vec load_up_to(const real *p, ptrdiff_t n) { return n < LANES ? load_part(p, n) : load(p); }

ALWAYS_INLINE void store_up_to(real *p, vec v, ptrdiff_t n)
{
    if (n < LANES)
        store_part(p, v, n);
    else
        store(p, v);
}

ALWAYS_INLINE vec keep_up_to(vec v, ptrdiff_t n) { return n < LANES ? keep_part(v, n) : v; }

ALWAYS_INLINE vec absolute(vec v) { return as_real(as_integer(v) & ~as_integer(broadcast((real)-0.0))); }

ALWAYS_INLINE vec copy_sign(vec magnitude, vec sign)
{
    ivec sign_bit = as_integer(broadcast((real)-0.0));
    return as_real((as_integer(magnitude) & ~sign_bit) | (as_integer(sign) & sign_bit));
}

/* The rounding error of sum = a + b, exactly (Knuth's TwoSum). */
ALWAYS_INLINE vec sum_error(vec a, vec b, vec sum)
{
    vec b_virtual = sum - a;
    return (a - (sum - b_virtual)) + (b - b_virtual);
}

/* The error a * b - ab of a product ab. It is exact if ab is within about an ulp of a * b and nothing overflows or
   underflows. */
ALWAYS_INLINE vec product_error(vec a, vec b, vec ab)
{
#if FUSED
    return multiply_add(a, b, -ab);
#else /* Dekker's product: products of half-length numbers are exact */
    real split = (real)((1 << (MANTISSA_BITS + 2) / 2) + 1);
    vec a_high = a * split - (a * split - a), a_low = a - a_high;
    vec b_high = b * split - (b * split - b), b_low = b - b_high;
    return ((a_high * b_high - ab) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* A running sum in each lane, with its rounding error: sum + error has twice the precision of real. */
typedef struct {
    vec sum, error;
} vec_sum;

ALWAYS_INLINE void add_to(vec_sum *total, vec v)
{
    vec sum = total->sum + v;
    total->error += sum_error(total->sum, v, sum);
    total->sum = sum;
}

/* 1 / total, to twice the precision of real. */
ALWAYS_INLINE vec_sum inverse_of(vec_sum total)
{
    vec inverse = 1 / total.sum;
    return (vec_sum){inverse, -inverse * (product_error(total.sum, inverse, broadcast(1)) + total.error * inverse)};
}

/* Whether every lane is 0 or -0. */
ALWAYS_INLINE bool is_zero(vec v) { return !any(less(broadcast(0), choose(equal(v, broadcast(0)), v, broadcast(1)))); }

/* For each lane i of v that is not 0, write first + i to `places`, in ascending order. Returns how many there are. All
   of places[0 : LANES] may be overwritten. */
ALWAYS_INLINE ptrdiff_t store_places(uint16_t *places, vec v, int first)
{
#if defined VECTOR_AVX512 && REAL_BITS == 64
    mask m = _mm512_cmp_pd_mask(v, broadcast(0), _CMP_NEQ_UQ);
    __m256i at = _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm_storeu_si128((__m128i *)places, _mm256_cvtepi32_epi16(_mm256_maskz_compress_epi32(m, at)));
    return __builtin_popcount(m);
#elif defined VECTOR_AVX512
    mask m = _mm512_cmp_ps_mask(v, broadcast(0), _CMP_NEQ_UQ);
    __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i at = _mm512_maskz_compress_epi32(m, _mm512_add_epi32(_mm512_set1_epi32(first), lane));
    _mm256_storeu_si256((__m256i *)places, _mm512_cvtepi32_epi16(at));
    return __builtin_popcount(m);
#else
    ptrdiff_t count = 0;
    if (!is_zero(v))
        for (int i = 0; i < LANES; i++) {
            places[count] = (uint16_t)(first + i);
            count += ((real *)&v)[i] != 0;
        }
    return count;
#endif
}

/* v * factor, with hardly more than one rounding error. v must be finite. */
ALWAYS_INLINE vec times(vec v, vec_sum factor) { return multiply_add(v, factor.sum, v * factor.error); }

/* Move the error into the sum, as far as the sum can hold it. The error itself is summed without correction, but loses
   less if it stays small. Renormalizing once in RENORMALIZE_EVERY terms makes the mean of 10^7 equal float32 exact. The
   error of an infinite sum is nan; such a sum stays as it is. */
enum { RENORMALIZE_EVERY = 16 };

ALWAYS_INLINE void renormalize(vec_sum *total)
{
    vec sum = total->sum + total->error;
    mask finite = less_equal(total->error, total->error);
    total->error = choose(finite, total->error - (sum - total->sum), total->error);
    total->sum = choose(finite, sum, total->sum);
}

/* CROSSED(v, h) has lane i ^ h of v in lane i. A reduction combines v with CROSSED(v, h) for h = LANES / 2, ..., 2, 1.
   LOW and HIGH reduce two vectors at once: lane i of LOW(a, b, h) + HIGH(a, b, h) is the sum of lanes i and i ^ h of a
   if (i & h) is 0, else of b. */
#if LANES == 16
#define EACH_LANE(F, h)                                                                                                \
    F(0, h), F(1, h), F(2, h), F(3, h), F(4, h), F(5, h), F(6, h), F(7, h), F(8, h), F(9, h), F(10, h), F(11, h),      \
        F(12, h), F(13, h), F(14, h), F(15, h)
#define HALVINGS(F) F(8) F(4) F(2) F(1)
#elif LANES == 8
#define EACH_LANE(F, h) F(0, h), F(1, h), F(2, h), F(3, h), F(4, h), F(5, h), F(6, h), F(7, h)
#define HALVINGS(F) F(4) F(2) F(1)
#elif LANES == 4
#define EACH_LANE(F, h) F(0, h), F(1, h), F(2, h), F(3, h)
#define HALVINGS(F) F(2) F(1)
#elif LANES == 2
#define EACH_LANE(F, h) F(0, h), F(1, h)
#define HALVINGS(F) F(1)
#else
#define HALVINGS(F)
#endif
#define CROSSED_LANE(i, h) ((i) ^ (h))
#define LOW_LANE(i, h) ((i) & (h) ? LANES + ((i) ^ (h)) : (i))
#define HIGH_LANE(i, h) ((i) & (h) ? LANES + (i) : ((i) ^ (h)))
#ifdef __clang__
#define SHUFFLED(a, b, F, h) __builtin_shufflevector(a, b, EACH_LANE(F, h))
#else
#define SHUFFLED(a, b, F, h) __builtin_shuffle(a, b, (ivec){EACH_LANE(F, h)})
#endif
#define CROSSED(v, h) SHUFFLED(v, v, CROSSED_LANE, h)
#define LOW(a, b, h) SHUFFLED(a, b, LOW_LANE, h)
#define HIGH(a, b, h) SHUFFLED(a, b, HIGH_LANE, h)

ALWAYS_INLINE vec_sum add_sums(vec_sum a, vec b_sum, vec b_error)
{
    vec sum = a.sum + b_sum;
    return (vec_sum){sum, a.error + b_error + sum_error(a.sum, b_sum, sum)};
}

/* The sum of all lanes of `total` is the result + *error. */
ALWAYS_INLINE real sum_lanes(vec_sum total, real *error)
{
#define HALVE(h) total = add_sums(total, CROSSED(total.sum, h), CROSSED(total.error, h));
    HALVINGS(HALVE)
#undef HALVE
    *error = first_lane(total.error);
    return first_lane(total.sum);
}

ALWAYS_INLINE real largest(vec v)
{
#define HALVE(h) v = maximum(v, CROSSED(v, h));
    HALVINGS(HALVE)
#undef HALVE
    return first_lane(v);
}

/* Lane i of the result is the sum of the lanes of total[i], for i < LANES. total is overwritten. */
ALWAYS_INLINE vec_sum each_sum(vec_sum *total)
{
#define HALVE(h)                                                                                                       \
    UNROLL for (int i = 0; i < (h); i++) {                                                                             \
        vec_sum a = total[i], b = total[i + (h)], low = {LOW(a.sum, b.sum, h), LOW(a.error, b.error, h)};              \
        total[i] = add_sums(low, HIGH(a.sum, b.sum, h), HIGH(a.error, b.error, h));                                    \
    }
    HALVINGS(HALVE)
#undef HALVE
    return total[0];
}

/* Lane i of the result is the largest lane of v[i], for i < LANES. v is overwritten. */
ALWAYS_INLINE vec each_largest(vec *v)
{
#define HALVE(h)                                                                                                       \
    UNROLL for (int i = 0; i < (h); i++)                                                                               \
        v[i] = maximum(LOW(v[i], v[i + (h)], h), HIGH(v[i], v[i + (h)], h));
    HALVINGS(HALVE)
#undef HALVE
    return v[0];
}

/* Transpose LANES vectors: lane i of v[j] moves to lane j of v[i]. */
ALWAYS_INLINE void transpose(vec *v)
{
#define EXCHANGE(h)                                                                                                    \
    UNROLL for (int i = 0; i < LANES; i++)                                                                             \
        if (!(i & (h))) {                                                                                              \
            vec a = v[i], b = v[i + (h)];                                                                              \
            v[i] = LOW(a, b, h);                                                                                       \
            v[i + (h)] = HIGH(a, b, h);                                                                                \
        }
    HALVINGS(EXCHANGE)
#undef EXCHANGE
}

/* sum + error. The error of an infinite sum is nan; such a sum stays infinite. */
ALWAYS_INLINE real with_error(real sum, real error) { return isfinite(sum) ? sum + error : sum; }

#endif
