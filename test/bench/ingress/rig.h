// What the parts of the benchmark's rig share: sockets that never block, TLS on top of them or not, time, and arguments.
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

// The programs, one for each first argument; each takes the rest as name=value and answers the exit code.
int run_ingress(char **args);
int run_delay(char **args);
int run_load(char **args);

// --- Arguments: name=value; the program ends where a needed one is missing --------------------------------------------------------
const char *text_arg(char **args, const char *name, const char *otherwise);
const char *needed_arg(char **args, const char *name);
uint64_t number_arg(char **args, const char *name, uint64_t otherwise);

_Noreturn void die(const char *what);

// --- Time -------------------------------------------------------------------------------------------------------------------------
#define MS 1000000ull
#define SECOND 1000000000ull
uint64_t now_ns(void);

// --- Sockets ----------------------------------------------------------------------------------------------------------------------
// A listener on a free port of 127.0.0.1.
int tcp_listen(uint16_t *port);
// To ADDRESS:PORT; answers at once, the connection may still be under way. -1 where not even that works.
int tcp_connect(const char *target);
int tcp_accept(int listener);
void be_blocking(int fd, bool blocking);

int poller(void);
// Edge-triggered, both directions.
void watch(int poller, int fd, void *data);
// Waits for at most `ns`; for ever where that is UINT64_MAX.
int wait_for_events(int poller, struct epoll_event *events, int size, uint64_t ns);

// --- Streams ----------------------------------------------------------------------------------------------------------------------
struct stream {
  int fd;
  SSL *ssl; // NULL: plain TCP
};

enum { AGAIN = -1, BROKEN = -2 };

// From the folder `dir`: ca.pem, and (server|client).pem with its key.pem. TLS 1.3, one cipher, the peer's certificate required.
SSL_CTX *tls_context(const char *dir, bool server);
struct stream stream_of(int fd, SSL_CTX *tls, bool server);
// 1: done; AGAIN; BROKEN
int stream_handshake(struct stream *stream);
// Bytes; 0: the peer has finished; AGAIN; BROKEN
ssize_t stream_read(struct stream *stream, void *bytes, size_t size);
// As stream_read, for who does not want to see them: plain TCP drops them in the kernel.
ssize_t stream_skip(struct stream *stream, size_t size);
ssize_t stream_write(struct stream *stream, const void *bytes, size_t size);
// FIN, behind a close_notify where there is TLS, and the descriptor is given back.
void stream_close(struct stream *stream);
