// TLS echo load, as tcpload: N connections, D messages of B bytes in flight on each (D 1 is ping-pong).
#include "lg.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
static const char *o_host = "127.0.0.1", *o_label = "", *o_tls = "1.3", *o_pids;
static long o_port = 7000, o_conns = 1, o_depth = 1, o_size = 64, o_count = 0, o_idle = 0;
static double o_secs = 2, o_warm = 0.5, o_hold = 0.5, o_quiet = 2;
static const opt opts[] = {
    {"host", O_STR, &o_host, "IPv4 address"},
    {"port", O_INT, &o_port, ""},
    {"conns", O_INT, &o_conns, "connections"},
    {"depth", O_INT, &o_depth, "messages in flight per connection"},
    {"tls", O_STR, &o_tls, "1.3 or 1.2 (default: 1.3)"},
    {"size", O_INT, &o_size, "bytes, at least 4"},
    {"count", O_INT, &o_count, "messages per connection (0: by time)"},
    {"secs", O_DBL, &o_secs, ""},
    {"warm", O_DBL, &o_warm, ""},
    {"quiet", O_DBL, &o_quiet, "seconds without progress that end the drain"},
    {"idle", O_INT, &o_idle, "idle connections to open and hold"},
    {"hold", O_DBL, &o_hold, ""},
    {"server-pid", O_STR, &o_pids, ""},
    {"label", O_STR, &o_label, ""},
    {0}};
typedef struct { conn c; SSL *ssl; uint32_t out, in; uint64_t *ts; } cli;
static cli *all;
static uint64_t sent, recvd, bad, errors;
static hist lat;
static bool sending = true;
static uint8_t *msg;

static SSL_CTX *context;

// A connection whose handshake is done, still blocking.
static int tls_connect(cli *c) {
    if ((c->c.fd = lg_connect(o_host, (int)o_port, false)) < 0) return -1;
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->c.fd);
    return SSL_connect(c->ssl) == 1 ? 0 : -1;
}
static void tls_arm(cli *c, bool writable) {
    if (c->c.armed_out == writable) return;
    c->c.armed_out = writable;
    struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(lg_ep, EPOLL_CTL_MOD, c->c.fd, &e);
}
static void tls_flush(cli *c) {
    buf *o = &c->c.out;
    while (buf_size(o)) {
        size_t written;
        ERR_clear_error();
        if (!SSL_write_ex(c->ssl, o->p + o->off, buf_size(o), &written)) {
            int why = SSL_get_error(c->ssl, 0);
            if (why == SSL_ERROR_WANT_WRITE) tls_arm(c, true);
            else if (why != SSL_ERROR_WANT_READ) { lg_io_errors++; conn_close(&c->c); }
            return;
        }
        o->off += written;
    }
    o->off = o->len = 0;
    tls_arm(c, false);
}
static void refill(cli *c) {
    uint64_t ts = now_ns();
    while (sending && c->out - c->in < (uint32_t)o_depth && (!o_count || c->out < (uint32_t)o_count) && buf_size(&c->c.out) < 262144) {
        memcpy(msg, &c->out, 4);
        buf_put(&c->c.out, msg, (size_t)o_size);
        c->ts[c->out++ % (uint32_t)o_depth] = ts;
        sent++;
    }
    tls_flush(c);
}
static size_t parse(conn *k, const uint8_t *p, size_t n) {
    cli *c = (cli *)k;
    size_t at = 0;
    uint64_t t = now_ns();
    for (; n - at >= (size_t)o_size; at += (size_t)o_size) {
        uint32_t seq;
        memcpy(&seq, p + at, 4);
        if (seq != c->in || memcmp(p + at + 4, msg + 4, (size_t)o_size - 4)) bad++;
        hist_add(&lat, t - c->ts[c->in++ % (uint32_t)o_depth]);
        recvd++;
    }
    return at;
}
// Reads all that is there; false when the peer closed.
static bool tls_read(cli *c) {
    buf *b = &c->c.in;
    size_t got;
    do {
        ERR_clear_error();
        if (!SSL_read_ex(c->ssl, buf_room(b, 16384), 16384, &got)) {
            int why = SSL_get_error(c->ssl, 0);
            if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) break;
            conn_close(&c->c);
            return false;
        }
        b->len += got;
    } while (SSL_has_pending(c->ssl));
    b->off += parse(&c->c, b->p + b->off, buf_size(b));
    if (b->off == b->len) b->off = b->len = 0;
    return true;
}
int main(int argc, char **argv) {
    lg_args(argc, argv, opts);
    lg_raise_nofile();
    lg_set_server(o_pids);
    if (o_size < 4) o_size = 4;
    context = SSL_CTX_new(TLS_client_method());
    int version = strcmp(o_tls, "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    if (o_idle) {
        long r0 = lg_server_rss_kb(), fail = 0;
        for (long i = 0; i < o_idle; i++) fail += tls_connect(xalloc(sizeof(cli))) < 0;
        usleep((useconds_t)(o_hold * 1e6));
        long r1 = lg_server_rss_kb();
        printf("{\"tool\":\"tlsload\",\"label\":\"%s\",\"idle\":%ld,\"failed\":%ld,\"rss_kb\":[%ld,%ld],\"bytes_per_conn\":%.0f}\n", o_label, o_idle, fail,
               r0, r1, (double)(r1 - r0) * 1024 / (double)o_idle);
    }
    if (!o_conns) return 0;
    msg = xalloc((size_t)o_size);
    for (long i = 0; i < o_size; i++) msg[i] = (uint8_t)('a' + i % 26);
    all = xalloc(sizeof(cli) * (size_t)o_conns);
    for (long i = 0; i < o_conns; i++) {
        if (tls_connect(&all[i])) die("no TLS with the server");
        all[i].ts = xalloc(8 * (size_t)o_depth);
        conn_register(&all[i].c);
    }
    phase ph;
    phase_start(&ph, o_warm, o_count ? 0 : o_secs);
    for (long i = 0; i < o_conns; i++) refill(&all[i]);
    struct epoll_event ev[512];
    uint64_t last = 0, moved = now_ns();
    while (ph.at != PH_DONE) {
        uint64_t now = now_ns();
        if (phase_tick(&ph, now, sent, recvd)) hist_clear(&lat);
        if (ph.at == PH_DRAIN) sending = false;
        if ((!sending || (o_count && sent >= (uint64_t)(o_count * o_conns))) && recvd >= sent) { phase_end(&ph, sent, recvd); break; }
        if (recvd != last) { last = recvd; moved = now; }
        else if (now - moved > (uint64_t)(o_quiet * 1e9)) { phase_end(&ph, sent, recvd); break; }
        int n = lg_wait(ev, 512, 50000000);
        for (int i = 0; i < n; i++) {
            cli *c = ev[i].data.ptr;
            if (c->c.dead) continue;
            if (ev[i].events & ~(uint32_t)EPOLLOUT)
                if (!tls_read(c)) { errors++; continue; }
            refill(c);
        }
    }
    phase_json(&ph, "tlsload", o_label);
    printf(",\"conns\":%ld,\"depth\":%ld,\"size\":%ld,\"sent\":%llu,\"recv\":%llu,\"lost\":%lld,\"corrupt\":%llu,\"errors\":%llu", o_conns, o_depth,
           o_size, (unsigned long long)sent, (unsigned long long)recvd, (long long)(sent - recvd), (unsigned long long)bad,
           (unsigned long long)(errors + lg_io_errors));
    hist_json("lat_us", &lat);
    printf("}\n");
    return 0;
}
