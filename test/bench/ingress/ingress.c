// The ingress: mutual TLS on two ports, a bare one for relays that know nothing of ngrok, and one that wants ngrok's upgrade header
// first (docs/protocol.md). What a client may then ask for, any number of times except for the echo:
//   e            this byte and all that follow come back
//   d COUNT      COUNT bytes come down
//   u COUNT      COUNT bytes go up, and one comes back for them
// COUNT is 8 bytes, little-endian. As many processes as told share the ports.
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum stage { HANDSHAKE, HEADER, ANSWER, COMMAND, ECHO, SOURCE, SINK, RECEIPT };
enum step { GO_ON, WAIT, OVER };

struct conn {
  struct stream stream;
  enum stage stage, first;
  uint64_t left;     // bytes still to be sent or dropped
  uint16_t at, size; // of what `bytes` holds: already written, and all
  unsigned char bytes[512];
};

// ConnResponse { endpoint_id: "ep_bench", proto: "tcp" }, its length in front.
static const unsigned char answer[] = "\x0f\x00\x0a\x08"
                                      "ep_bench"
                                      "\x12\x03"
                                      "tcp";
static const unsigned char payload[256 * 1024];

static enum step outcome(ssize_t count) { return count == AGAIN ? WAIT : count <= 0 ? OVER : GO_ON; }

// Reads until `bytes` holds `size`, never more.
static enum step fill(struct conn *conn, size_t size) {
  while (conn->size < size) {
    ssize_t count = stream_read(&conn->stream, conn->bytes + conn->size, size - conn->size);
    if (count <= 0) return outcome(count);
    conn->size += (uint16_t)count;
  }
  return GO_ON;
}

// Writes what `bytes` holds.
static enum step flush(struct conn *conn) {
  while (conn->at < conn->size) {
    ssize_t count = stream_write(&conn->stream, conn->bytes + conn->at, conn->size - conn->at);
    if (count <= 0) return outcome(count);
    conn->at += (uint16_t)count;
  }
  conn->at = conn->size = 0;
  return GO_ON;
}

static enum step read_header(struct conn *conn) {
  enum step step = fill(conn, 2);
  if (step != GO_ON) return step;
  size_t size = 2 + conn->bytes[0] + 256 * conn->bytes[1];
  if (size < 4 || size > sizeof conn->bytes) return OVER;
  step = fill(conn, size);
  if (step != GO_ON) return step;
  if (conn->bytes[2] != 0x0a) return OVER; // field 1, the host
  memcpy(conn->bytes, answer, sizeof answer - 1);
  conn->size = sizeof answer - 1;
  conn->stage = ANSWER;
  return GO_ON;
}

static enum step read_command(struct conn *conn) {
  enum step step = fill(conn, 1);
  if (step != GO_ON) return step;
  if (conn->bytes[0] == 'e') {
    conn->stage = ECHO;
    return GO_ON;
  }
  step = fill(conn, 9);
  if (step != GO_ON) return step;
  memcpy(&conn->left, conn->bytes + 1, 8);
  conn->size = 0;
  conn->stage = conn->bytes[0] == 'd' ? SOURCE : SINK;
  return conn->bytes[0] == 'd' || conn->bytes[0] == 'u' ? GO_ON : OVER;
}

static enum step echo(struct conn *conn) {
  enum step step = flush(conn);
  if (step != GO_ON) return step;
  ssize_t count = stream_read(&conn->stream, conn->bytes, sizeof conn->bytes);
  if (count > 0) conn->size = (uint16_t)count;
  return outcome(count);
}

static enum step source(struct conn *conn) {
  while (conn->left > 0) {
    size_t size = conn->left < sizeof payload ? conn->left : sizeof payload;
    ssize_t count = stream_write(&conn->stream, payload, size);
    if (count <= 0) return outcome(count);
    conn->left -= (uint64_t)count;
  }
  conn->stage = COMMAND;
  return GO_ON;
}

static enum step sink(struct conn *conn) {
  while (conn->left > 0) {
    ssize_t count = stream_skip(&conn->stream, conn->left);
    if (count <= 0) return outcome(count);
    conn->left -= (uint64_t)count;
  }
  conn->size = 1;
  conn->stage = RECEIPT;
  return GO_ON;
}

static enum step then(struct conn *conn, enum step step, enum stage next) {
  if (step == GO_ON) conn->stage = next;
  return step;
}

static enum step advance(struct conn *conn) {
  switch (conn->stage) {
    case HANDSHAKE: return then(conn, outcome(stream_handshake(&conn->stream)), conn->first);
    case HEADER: return read_header(conn);
    case ANSWER: return then(conn, flush(conn), COMMAND);
    case COMMAND: return read_command(conn);
    case ECHO: return echo(conn);
    case SOURCE: return source(conn);
    case SINK: return sink(conn);
    case RECEIPT: return then(conn, flush(conn), COMMAND);
  }
  return OVER;
}

static void take_one(int events, int listener, SSL_CTX *tls, enum stage first) {
  int fd = tcp_accept(listener);
  if (fd < 0) return;
  struct conn *conn = calloc(1, sizeof *conn);
  if (conn == NULL) die("calloc");
  conn->stream = stream_of(fd, tls, true);
  conn->first = first;
  watch(events, fd, conn);
}

_Noreturn static void work(const int listeners[2], SSL_CTX *tls) {
  static const enum stage firsts[2] = {COMMAND, HEADER};
  int events = poller();
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = (void *)&firsts[i]};
    if (epoll_ctl(events, EPOLL_CTL_ADD, listeners[i], &event) < 0) die("epoll_ctl");
  }
  for (;;) {
    struct epoll_event ready[64];
    int count = wait_for_events(events, ready, 64, UINT64_MAX);
    for (int i = 0; i < count; i++) {
      void *data = ready[i].data.ptr;
      // One at a time, so that the other processes get theirs.
      if (data == &firsts[0] || data == &firsts[1]) {
        take_one(events, listeners[data == &firsts[1]], tls, *(const enum stage *)data);
        continue;
      }
      struct conn *conn = data;
      enum step step;
      while ((step = advance(conn)) == GO_ON) continue;
      if (step == WAIT) continue;
      stream_close(&conn->stream);
      free(conn);
    }
  }
}

int run_ingress(char **args) {
  uint16_t ports[2];
  int listeners[2] = {tcp_listen(&ports[0]), tcp_listen(&ports[1])};
  // Made before the processes part, so that one's session tickets are good for the others.
  SSL_CTX *tls = tls_context(needed_arg(args, "tls"), true);
  pid_t parent = getpid();
  for (uint64_t i = number_arg(args, "workers", 1); i > 0; i--) {
    if (fork() != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) return 1;
    work(listeners, tls);
  }
  printf("{\"bare\": %d, \"header\": %d}\n", ports[0], ports[1]);
  fflush(stdout);
  // Nothing ends a process of the rig but a fault.
  wait(NULL);
  return 1;
}
