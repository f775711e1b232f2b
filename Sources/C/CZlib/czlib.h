// zlib, and what of it only macros say.
#pragma once
#include <zlib.h>

static inline int cz_begin_deflate(z_stream *stream, int level, int window) {
    return deflateInit2(stream, level, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY);
}
static inline int cz_begin_inflate(z_stream *stream, int window) { return inflateInit2(stream, window); }
