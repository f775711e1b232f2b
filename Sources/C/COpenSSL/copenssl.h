// OpenSSL 3, and what of it only macros say.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

static const uint64_t co_options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE;
static const unsigned long co_name_flags = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;

static inline void co_ctx_set_mode(SSL_CTX *context, long mode) { SSL_CTX_set_mode(context, mode); }
static inline int co_ctx_set_versions(SSL_CTX *context, int minimum, int maximum) {
    return SSL_CTX_set_min_proto_version(context, minimum) && SSL_CTX_set_max_proto_version(context, maximum);
}
static inline void co_ctx_set_read_ahead(SSL_CTX *context) { SSL_CTX_set_read_ahead(context, 1); }
static inline int co_ctx_set_groups(SSL_CTX *context, const char *groups) { return (int)SSL_CTX_set1_groups_list(context, groups); }
static inline void co_ctx_set_session_cache_mode(SSL_CTX *context, long mode) { SSL_CTX_set_session_cache_mode(context, mode); }
static inline int co_set_server_name(SSL *ssl, const char *name) { return (int)SSL_set_tlsext_host_name(ssl, name); }
static inline void co_set_owner(SSL *ssl, void *owner) { SSL_set_app_data(ssl, owner); }
static inline void *co_owner(const SSL *ssl) { return SSL_get_app_data(ssl); }
static inline int co_is_reading(const SSL *ssl) { return SSL_want_read(ssl); }
static inline void co_bio_want_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void co_bio_clear(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline long co_memory(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }
static inline int co_error_library(unsigned long error) { return ERR_GET_LIB(error); }
static inline int co_error_reason(unsigned long error) { return ERR_GET_REASON(error); }
