// The load: a client of relays (or, with tls=FOLDER, of the ingress itself), which does one thing, measures it, and says so in one line
// of JSON. Times are in microseconds.
//   do=echo    count=N                    one byte to and fro, on one connection
//   do=bulk    way=down|up streams=N bytes=N
//   do=connect count=N at-once=N per-second=N warm-up=N hold=yes
//                new connections to their first echoed byte: as fast as `at-once` of them get there, or at a steady rate (then measured
//                from when each was due); held open until stdin ends, when each must still echo, or closed at once
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *target;
static SSL_CTX *tls;
static const uint64_t patience = 30 * SECOND;

static int by_size(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

static void say_times(uint64_t *times, size_t count) {
  qsort(times, count, sizeof *times, by_size);
  const double marks[] = {0.5, 0.9, 0.99, 1};
  const char *names[] = {"p50", "p90", "p99", "max"};
  for (int i = 0; i < 4 && count > 0; i++) {
    printf("\"%s\": %.1f, ", names[i], (double)times[(size_t)(marks[i] * (double)(count - 1) + 0.5)] / 1000);
  }
}

// --- On blocking streams ----------------------------------------------------------------------------------------------------------

static struct stream open_blocking(void) {
  int fd = tcp_connect(target);
  if (fd < 0) die(target);
  be_blocking(fd, true);
  struct stream stream = stream_of(fd, tls, false);
  if (stream_handshake(&stream) != 1) die("handshake");
  return stream;
}

static void send_all(struct stream *stream, const void *bytes, size_t size) {
  for (ssize_t count; size > 0; size -= (size_t)count, bytes = (const char *)bytes + count) {
    count = stream_write(stream, bytes, size);
    if (count <= 0) die("write");
  }
}

static void await_byte(struct stream *stream) {
  char byte;
  if (stream_read(stream, &byte, 1) != 1) die("read");
}

static void send_command(struct stream *stream, char verb, uint64_t count) {
  char command[9] = {verb};
  memcpy(command + 1, &count, 8);
  send_all(stream, command, sizeof command);
}

static int echo(char **args) {
  size_t count = number_arg(args, "count", 10000), warm_up = count / 10;
  uint64_t *times = calloc(count, sizeof *times);
  struct stream stream = open_blocking();
  for (size_t i = 0; i < warm_up + count; i++) {
    uint64_t start = now_ns();
    send_all(&stream, "e", 1);
    await_byte(&stream);
    if (i >= warm_up) times[i - warm_up] = now_ns() - start;
  }
  printf("{");
  say_times(times, count);
  printf("\"count\": %zu}\n", count);
  return 0;
}

// --- Bulk -------------------------------------------------------------------------------------------------------------------------

struct flow {
  struct stream stream;
  uint64_t left;
};

// Answers whether this one has finished.
static bool move_bytes(struct flow *flow, bool up) {
  static const char payload[256 * 1024];
  while (flow->left > 0) {
    size_t size = flow->left < sizeof payload ? flow->left : sizeof payload;
    ssize_t count = up ? stream_write(&flow->stream, payload, size) : stream_skip(&flow->stream, flow->left);
    if (count == AGAIN) return false;
    if (count <= 0) die("bulk");
    flow->left -= (uint64_t)count;
  }
  char receipt;
  return !up || stream_read(&flow->stream, &receipt, 1) == 1;
}

static int bulk(char **args) {
  bool up = strcmp(needed_arg(args, "way"), "up") == 0;
  size_t streams = number_arg(args, "streams", 1), open = streams;
  uint64_t bytes = number_arg(args, "bytes", 1 << 30) / streams;
  struct flow *flows = calloc(streams, sizeof *flows);
  int events = poller();
  for (size_t i = 0; i < streams; i++) {
    flows[i] = (struct flow){.stream = open_blocking(), .left = bytes};
    // The way is open to its end before time starts.
    send_command(&flows[i].stream, 'd', 1);
    await_byte(&flows[i].stream);
  }
  uint64_t start = now_ns();
  for (size_t i = 0; i < streams; i++) {
    send_command(&flows[i].stream, up ? 'u' : 'd', bytes);
    be_blocking(flows[i].stream.fd, false);
    watch(events, flows[i].stream.fd, &flows[i]);
  }
  while (open > 0) {
    struct epoll_event ready[64];
    int count = wait_for_events(events, ready, 64, patience);
    if (count == 0) die("bulk: nothing moves");
    for (int i = 0; i < count; i++) {
      struct flow *flow = ready[i].data.ptr;
      if (!move_bytes(flow, up)) continue;
      epoll_ctl(events, EPOLL_CTL_DEL, flow->stream.fd, NULL);
      open--;
    }
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"bytes\": %lu, \"seconds\": %.6f}\n", bytes * streams, seconds);
  return 0;
}

// --- New connections --------------------------------------------------------------------------------------------------------------

enum stage { HANDSHAKE, ASK, LISTEN };

struct probe {
  struct probe *next, **link; // of those under way
  struct stream stream;
  enum stage stage;
  uint64_t since;
};

static struct probe *under_way;

static struct probe *open_probe(int events, uint64_t since) {
  int fd = tcp_connect(target);
  struct probe *probe = calloc(1, sizeof *probe);
  if (probe == NULL || fd < 0) die(target);
  *probe = (struct probe){.next = under_way, .link = &under_way, .stream = stream_of(fd, tls, false), .since = since};
  if (under_way != NULL) under_way->link = &probe->next;
  under_way = probe;
  watch(events, fd, probe);
  return probe;
}

static void settle(struct probe *probe) {
  *probe->link = probe->next;
  if (probe->next != NULL) probe->next->link = probe->link;
}

static void close_probe(struct probe *probe) {
  stream_close(&probe->stream);
  free(probe);
}

// 1: the byte has come back; AGAIN; BROKEN
static int advance(struct probe *probe) {
  char byte = 'e';
  ssize_t result;
  switch (probe->stage) {
    case HANDSHAKE:
      if ((result = stream_handshake(&probe->stream)) != 1) return (int)result;
      probe->stage = ASK;
      __attribute__((fallthrough));
    case ASK:
      if ((result = stream_write(&probe->stream, &byte, 1)) != 1) return (int)result;
      probe->stage = LISTEN;
      __attribute__((fallthrough));
    case LISTEN:
      result = stream_read(&probe->stream, &byte, 1);
      return result == 0 ? BROKEN : (int)result;
  }
  return BROKEN;
}

static size_t count_living(struct probe **held, size_t count) {
  size_t alive = 0;
  for (size_t i = 0; i < count; i++) {
    char byte = 'e';
    be_blocking(held[i]->stream.fd, true);
    if (stream_write(&held[i]->stream, &byte, 1) == 1 && stream_read(&held[i]->stream, &byte, 1) == 1) alive++;
    close_probe(held[i]);
  }
  return alive;
}

static int connect_many(char **args) {
  size_t warm_up = number_arg(args, "warm-up", 0), count = warm_up + number_arg(args, "count", 1000);
  size_t at_once = number_arg(args, "at-once", count), started = 0, ended = 0, done = 0, failed = 0, holding = 0;
  uint64_t rate = number_arg(args, "per-second", 0);
  bool hold = strcmp(text_arg(args, "hold", "no"), "yes") == 0;
  uint64_t *times = calloc(count, sizeof *times), begun = now_ns(), counted = begun, last = begun;
  struct probe **held = calloc(count, sizeof *held);
  int events = poller();
  while (ended < count) {
    uint64_t now = now_ns(), due = UINT64_MAX;
    while (started < count && started - ended < at_once) {
      due = rate == 0 ? now : begun + started * SECOND / rate;
      if (due > now) break;
      if (started++ == warm_up) counted = due;
      open_probe(events, due);
      now = now_ns();
      due = UINT64_MAX;
    }
    struct epoll_event ready[64];
    uint64_t limit = last + patience;
    if (due > limit) due = limit;
    int ready_count = wait_for_events(events, ready, 64, due > now ? due - now : 0);
    for (int i = 0; i < ready_count; i++) {
      struct probe *probe = ready[i].data.ptr;
      int result = advance(probe);
      if (result == AGAIN) continue;
      last = now_ns();
      settle(probe);
      bool counts = ended++ >= warm_up;
      if (result != 1) failed++;
      else if (counts) times[done++] = last - probe->since;
      epoll_ctl(events, EPOLL_CTL_DEL, probe->stream.fd, NULL);
      if (hold && result == 1) held[holding++] = probe;
      else close_probe(probe);
    }
    if (now_ns() < limit) continue;
    // Nothing has come for so long that nothing will.
    failed += count - ended;
    break;
  }
  double seconds = (double)(last - counted) / 1e9;
  printf("{");
  say_times(times, done);
  printf("\"count\": %zu, \"failed\": %zu, \"seconds\": %.6f}\n", done, failed, seconds);
  fflush(stdout);
  while (under_way != NULL) {
    struct probe *probe = under_way;
    settle(probe);
    close_probe(probe);
  }
  if (!hold) return 0;
  for (char byte; read(STDIN_FILENO, &byte, 1) > 0;) continue;
  printf("{\"alive\": %zu}\n", count_living(held, holding));
  return 0;
}

int run_load(char **args) {
  target = needed_arg(args, "to");
  const char *folder = text_arg(args, "tls", NULL);
  if (folder != NULL) tls = tls_context(folder, false);
  const char *what = needed_arg(args, "do");
  if (strcmp(what, "echo") == 0) return echo(args);
  if (strcmp(what, "bulk") == 0) return bulk(args);
  if (strcmp(what, "connect") == 0) return connect_many(args);
  fprintf(stderr, "do=%s is unknown\n", what);
  return 2;
}
