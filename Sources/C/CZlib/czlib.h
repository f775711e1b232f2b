// zlib, and what of it only macros say.
#pragma once
#include <zlib.h>

static inline int cz_begin_deflate(z_stream *stream, int level, int window, int memory) {
    return deflateInit2(stream, level, Z_DEFLATED, window, memory, Z_DEFAULT_STRATEGY);
}
static inline int cz_begin_inflate(z_stream *stream, int window) { return inflateInit2(stream, window); }
// Another stream that may refer to the bytes before it.
static inline int cz_reset_inflate_keep(z_stream *stream) { return inflateResetKeep(stream); }
// The next byte begins a block: the last one was read to its end.
static inline int cz_is_between_blocks(const z_stream *stream) { return (stream->data_type & 128) != 0; }
