#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **args) {
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const char *program = count > 1 ? args[1] : "";
  if (strcmp(program, "ingress") == 0) return run_ingress(args + 2);
  if (strcmp(program, "delay") == 0) return run_delay(args + 2);
  if (strcmp(program, "load") == 0) return run_load(args + 2);
  fprintf(stderr, "usage: %s ingress|delay|load name=value...\n", args[0]);
  return 2;
}

const char *text_arg(char **args, const char *name, const char *otherwise) {
  size_t length = strlen(name);
  for (; *args != NULL; args++) {
    if (strncmp(*args, name, length) == 0 && (*args)[length] == '=') return *args + length + 1;
  }
  return otherwise;
}

const char *needed_arg(char **args, const char *name) {
  const char *value = text_arg(args, name, NULL);
  if (value != NULL) return value;
  fprintf(stderr, "%s=... is missing\n", name);
  exit(2);
}

uint64_t number_arg(char **args, const char *name, uint64_t otherwise) {
  const char *value = text_arg(args, name, NULL);
  return value == NULL ? otherwise : strtoull(value, NULL, 10);
}

void die(const char *what) {
  perror(what);
  ERR_print_errors_fp(stderr);
  exit(1);
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int tcp_listen(uint16_t *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 4096) < 0) die("listen");
  getsockname(fd, (struct sockaddr *)&address, &size);
  *port = ntohs(address.sin_port);
  return fd;
}

int tcp_connect(const char *target) {
  char host[64];
  const char *colon = strrchr(target, ':');
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (colon == NULL || (size_t)(colon - target) >= sizeof host) die(target);
  snprintf(host, sizeof host, "%.*s", (int)(colon - target), target);
  address.sin_port = htons((uint16_t)atoi(colon + 1));
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die(target);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  no_delay(fd);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS) return fd;
  close(fd);
  return -1;
}

int tcp_accept(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) no_delay(fd);
  return fd;
}

void be_blocking(int fd, bool blocking) {
  int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

int poller(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) die("epoll_create1");
  return fd;
}

void watch(int poller, int fd, void *data) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = data};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

int wait_for_events(int poller, struct epoll_event *events, int size, uint64_t ns) {
  struct timespec time = {.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)};
  int count = epoll_pwait2(poller, events, size, ns == UINT64_MAX ? NULL : &time, NULL);
  if (count < 0 && errno != EINTR) die("epoll_pwait2");
  return count < 0 ? 0 : count;
}

SSL_CTX *tls_context(const char *dir, bool server) {
  const char *who = server ? "server" : "client";
  char ca[4096], cert[4096], key[4096];
  snprintf(ca, sizeof ca, "%s/ca.pem", dir);
  snprintf(cert, sizeof cert, "%s/%s.pem", dir, who);
  snprintf(key, sizeof key, "%s/%s.key.pem", dir, who);
  SSL_CTX *tls = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  if (tls == NULL || SSL_CTX_load_verify_file(tls, ca) != 1 || SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
      SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") != 1) {
    die(dir);
  }
  SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
  SSL_CTX_set_session_id_context(tls, (const unsigned char *)"bench", 5);
  SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(tls, 1);
  SSL_CTX_set_default_read_buffer_len(tls, 128 * 1024);
  return tls;
}

struct stream stream_of(int fd, SSL_CTX *tls, bool server) {
  struct stream stream = {.fd = fd};
  if (tls == NULL) return stream;
  stream.ssl = SSL_new(tls);
  if (stream.ssl == NULL || SSL_set_fd(stream.ssl, fd) != 1) die("SSL_new");
  if (server) SSL_set_accept_state(stream.ssl);
  else SSL_set_connect_state(stream.ssl);
  return stream;
}

static ssize_t tls_result(SSL *ssl, int result) {
  int error = SSL_get_error(ssl, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return AGAIN;
  ERR_clear_error();
  return error == SSL_ERROR_ZERO_RETURN ? 0 : BROKEN;
}

static ssize_t tcp_result(ssize_t result) {
  if (result >= 0) return result;
  return errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN ? AGAIN : BROKEN;
}

int stream_handshake(struct stream *stream) {
  if (stream->ssl == NULL) return 1;
  int result = SSL_do_handshake(stream->ssl);
  if (result == 1) return 1;
  return tls_result(stream->ssl, result) == AGAIN ? AGAIN : BROKEN;
}

ssize_t stream_read(struct stream *stream, void *bytes, size_t size) {
  if (stream->ssl == NULL) return tcp_result(recv(stream->fd, bytes, size, 0));
  int count = SSL_read(stream->ssl, bytes, (int)size);
  return count > 0 ? count : tls_result(stream->ssl, count);
}

ssize_t stream_skip(struct stream *stream, size_t size) {
  static char nowhere[256 * 1024];
  if (size > sizeof nowhere) size = sizeof nowhere;
  if (stream->ssl == NULL) return tcp_result(recv(stream->fd, nowhere, size, MSG_TRUNC));
  return stream_read(stream, nowhere, size);
}

ssize_t stream_write(struct stream *stream, const void *bytes, size_t size) {
  if (stream->ssl == NULL) return tcp_result(send(stream->fd, bytes, size, MSG_NOSIGNAL));
  int count = SSL_write(stream->ssl, bytes, (int)size);
  return count > 0 ? count : tls_result(stream->ssl, count);
}

void stream_close(struct stream *stream) {
  if (stream->ssl != NULL) {
    if (SSL_is_init_finished(stream->ssl)) SSL_shutdown(stream->ssl);
    ERR_clear_error();
    SSL_free(stream->ssl);
  }
  close(stream->fd);
}
