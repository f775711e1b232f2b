// CRC-32C (Castagnoli, RFC 3720 appendix B.4): by the processor's instruction where there is one, by tables otherwise.
#include "clinux.h"
#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

// All registers and polynomials are reflected: the highest bit is the coefficient of x^0.
static const uint32_t polynomial = 0x82F63B78;
static uint32_t slices[8][256];

static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        if (a & bit) product ^= b;
        b = b & 1 ? b >> 1 ^ polynomial : b >> 1;
    }
    return product;
}

// Three streams keep the instruction's pipeline full. Where two meet, the first one's register is moved over the second's length.
enum { LONG_STREAM = 2048, SHORT_STREAM = 128 };
static uint32_t over_long[4][256], over_short[4][256];

static void fill_shift(uint32_t table[4][256], int length) {
    uint32_t zeros = 1u << 31 >> 8;  // x^8, a zero byte; squared for each doubling
    for (int n = 1; n < length; n *= 2) zeros = multiply(zeros, zeros);
    for (int place = 0; place < 4; place++)
        for (uint32_t byte = 0; byte < 256; byte++) table[place][byte] = multiply(byte << 8 * place, zeros);
}
__attribute__((constructor)) static void fill_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ polynomial : crc >> 1;
        slices[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++)
        for (int byte = 0; byte < 256; byte++)
            slices[slice][byte] = slices[slice - 1][byte] >> 8 ^ slices[0][slices[slice - 1][byte] & 255];
    fill_shift(over_long, LONG_STREAM);
    fill_shift(over_short, SHORT_STREAM);
}

static inline uint64_t load(const uint8_t *bytes) { uint64_t word; memcpy(&word, bytes, 8); return word; }

uint32_t cl_crc32c_by_table(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; count >= 8; count -= 8, at += 8) {
        uint32_t low = crc ^ (at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24);
        crc = slices[7][low & 255] ^ slices[6][low >> 8 & 255] ^ slices[5][low >> 16 & 255] ^ slices[4][low >> 24] ^ slices[3][at[4]] ^ slices[2][at[5]]
            ^ slices[1][at[6]] ^ slices[0][at[7]];
    }
    for (; count; count--, at++) crc = crc >> 8 ^ slices[0][(crc ^ *at) & 255];
    return ~crc;
}

#if defined(__x86_64__)
static inline uint32_t shift(uint32_t table[4][256], uint32_t crc) {
    return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^ table[3][crc >> 24];
}
__attribute__((target("sse4.2"), always_inline)) static inline uint32_t three(uint32_t crc, const uint8_t *at, int length, uint32_t table[4][256]) {
    uint64_t a = crc, b = 0, c = 0;
    for (const uint8_t *end = at + length; at < end; at += 8) {
        a = _mm_crc32_u64(a, load(at));
        b = _mm_crc32_u64(b, load(at + length));
        c = _mm_crc32_u64(c, load(at + 2 * length));
    }
    return shift(table, shift(table, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *at, size_t count) {
    crc = ~crc;
    for (; count >= 3 * LONG_STREAM; count -= 3 * LONG_STREAM, at += 3 * LONG_STREAM) crc = three(crc, at, LONG_STREAM, over_long);
    for (; count >= 3 * SHORT_STREAM; count -= 3 * SHORT_STREAM, at += 3 * SHORT_STREAM) crc = three(crc, at, SHORT_STREAM, over_short);
    for (; count >= 8; count -= 8, at += 8) crc = (uint32_t)_mm_crc32_u64(crc, load(at));
    for (; count; count--, at++) crc = _mm_crc32_u8(crc, *at);
    return ~crc;
}
uint32_t cl_crc32c(uint32_t crc, const void *bytes, size_t count) {
    return __builtin_cpu_supports("sse4.2") ? by_instruction(crc, bytes, count) : cl_crc32c_by_table(crc, bytes, count);
}
#elif defined(__ARM_FEATURE_CRC32)
uint32_t cl_crc32c(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; count >= 8; count -= 8, at += 8) crc = __crc32cd(crc, load(at));
    for (; count; count--, at++) crc = __crc32cb(crc, *at);
    return ~crc;
}
#else
uint32_t cl_crc32c(uint32_t crc, const void *bytes, size_t count) { return cl_crc32c_by_table(crc, bytes, count); }
#endif
