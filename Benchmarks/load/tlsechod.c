// TCP echo under TLS 1.3 with OpenSSL on one epoll set, the limit to compare against: one SSL a connection on a non-blocking socket, read-ahead,
// no buffers kept while idle, all that one event brings answered with one write.
// usage: tlsechod PORT CERTIFICATE KEY   (127.0.0.1, one thread)
#include "lg.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

typedef struct { conn c; SSL *ssl; } client;
static uint8_t data[65536];
static SSL_CTX *context;

static void drop(client *k) {
    SSL_free(k->ssl);
    conn_close(&k->c);
    free(k->c.out.p);
    free(k);
}
static void arm(client *k, bool writable) {
    if (k->c.armed_out == writable) return;
    k->c.armed_out = writable;
    struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = k};
    epoll_ctl(lg_ep, EPOLL_CTL_MOD, k->c.fd, &e);
}
// False when the connection is over.
static bool again(client *k, int result) {
    int why = SSL_get_error(k->ssl, result);
    if (why == SSL_ERROR_WANT_WRITE) arm(k, true);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}
static bool flush(client *k) {
    buf *o = &k->c.out;
    while (buf_size(o)) {
        size_t written;
        ERR_clear_error();
        if (!SSL_write_ex(k->ssl, o->p + o->off, buf_size(o), &written)) return again(k, 0);
        o->off += written;
    }
    o->off = o->len = 0;
    arm(k, false);
    return true;
}
static bool serve(client *k) {
    if (buf_size(&k->c.out)) {
        if (!flush(k)) return false;
        if (buf_size(&k->c.out)) return true;
    }
    for (;;) {
        size_t n = 0, got;
        do {
            ERR_clear_error();
            if (!SSL_read_ex(k->ssl, data + n, sizeof data - n, &got)) {
                if (!again(k, 0)) return false;
                break;
            }
            n += got;
        } while (n + 16384 <= sizeof data && SSL_has_pending(k->ssl));
        if (!n) return true;
        size_t written = 0;
        ERR_clear_error();
        if (!SSL_write_ex(k->ssl, data, n, &written)) {
            if (!again(k, 0)) return false;
            buf_put(&k->c.out, data, n);
            return true;
        }
        if (n + 16384 <= sizeof data) return true;
    }
}
int main(int argc, char **argv) {
    if (argc < 4) die("usage: tlsechod PORT CERTIFICATE KEY");
    lg_raise_nofile();
    context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_use_certificate_chain_file(context, argv[2]) != 1 || SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1)
        die("cannot use %s and %s", argv[2], argv[3]);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static conn listener;
    int one = 1;
    listener.fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener.fd, (void *)&a, sizeof a) || listen(listener.fd, 4096)) die("listen: %s", strerror(errno));
    conn_register(&listener);
    struct epoll_event ev[512];
    for (;;) {
        int n = lg_wait(ev, 512, 1000000000);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.ptr == &listener) {
                for (int fd; (fd = accept(listener.fd, NULL, NULL)) >= 0;) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    client *k = xalloc(sizeof *k);
                    k->c.fd = fd;
                    k->ssl = SSL_new(context);
                    SSL_set_fd(k->ssl, fd);
                    SSL_set_accept_state(k->ssl);
                    conn_register(&k->c);
                }
            } else if (!serve(ev[i].data.ptr)) drop(ev[i].data.ptr);
        }
    }
}
