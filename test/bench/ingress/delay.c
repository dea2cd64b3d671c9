// A network that is far away: carries TCP connections to a target, each direction late by a fixed time, and as fast as they come.
// The kernel of this machine answers a connect at once, which a far network cannot: so what a client sends is held until a round trip
// after its connect, which is when it could have begun to send.
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct chunk {
  struct chunk *next;
  uint64_t due;
  size_t at, size; // size 0: the sender has finished
  char bytes[];
};

struct side {
  struct pair *pair;
  int fd;
  struct chunk *head, **tail; // read from this side, on the way to the other
  bool ended, over;           // it has finished; and the other side knows
};

struct pair {
  struct pair *next;
  struct side sides[2]; // client, target
  uint64_t open_at;     // when a far client would know that it is connected
  bool broken;
};

static uint64_t one_way;

static void open_pair(int events, struct pair **pairs, int client, const char *target) {
  struct pair *pair = calloc(1, sizeof *pair);
  if (pair == NULL) die("calloc");
  int fds[2] = {client, tcp_connect(target)};
  if (fds[1] < 0) die(target);
  pair->open_at = now_ns() + 2 * one_way;
  pair->next = *pairs;
  *pairs = pair;
  for (int i = 0; i < 2; i++) {
    struct side *side = &pair->sides[i];
    *side = (struct side){.pair = pair, .fd = fds[i], .tail = &side->head};
    watch(events, fds[i], side);
  }
}

static void receive(struct side *side) {
  static char bytes[64 * 1024];
  while (!side->ended) {
    ssize_t count = recv(side->fd, bytes, sizeof bytes, 0);
    if (count < 0) {
      side->pair->broken |= errno != EAGAIN;
      return;
    }
    side->ended = count == 0;
    struct chunk *chunk = malloc(sizeof *chunk + (size_t)count);
    if (chunk == NULL) die("malloc");
    uint64_t sent = now_ns();
    bool early = side == &side->pair->sides[0] && sent < side->pair->open_at;
    *chunk = (struct chunk){.due = (early ? side->pair->open_at : sent) + one_way, .size = (size_t)count};
    memcpy(chunk->bytes, bytes, (size_t)count);
    *side->tail = chunk;
    side->tail = &chunk->next;
  }
}

// Sends what is due, and answers when the next is; UINT64_MAX where nothing waits for time.
static uint64_t deliver(struct side *from, struct side *to) {
  struct chunk *chunk;
  while ((chunk = from->head) != NULL) {
    if (chunk->due > now_ns()) return chunk->due;
    if (chunk->size == 0) {
      from->over = true;
      shutdown(to->fd, SHUT_WR);
    }
    while (chunk->at < chunk->size) {
      ssize_t count = send(to->fd, chunk->bytes + chunk->at, chunk->size - chunk->at, MSG_NOSIGNAL);
      if (count < 0) return UINT64_MAX; // full: the socket will say when there is room; broken: it will say that too
      chunk->at += (size_t)count;
    }
    from->head = chunk->next;
    if (from->head == NULL) from->tail = &from->head;
    free(chunk);
  }
  return UINT64_MAX;
}

static void close_pair(struct pair *pair) {
  for (int i = 0; i < 2; i++) {
    close(pair->sides[i].fd);
    for (struct chunk *chunk = pair->sides[i].head, *next; chunk != NULL; chunk = next) {
      next = chunk->next;
      free(chunk);
    }
  }
  free(pair);
}

// All pairs, one by one: there are few.
static uint64_t deliver_all(struct pair **pairs) {
  uint64_t next = UINT64_MAX;
  for (struct pair **link = pairs, *pair; (pair = *link) != NULL;) {
    struct side *sides = pair->sides;
    for (int i = 0; i < 2; i++) {
      uint64_t due = deliver(&sides[i], &sides[1 - i]);
      if (due < next) next = due;
    }
    if (!pair->broken && !(sides[0].over && sides[1].over)) {
      link = &pair->next;
      continue;
    }
    *link = pair->next;
    close_pair(pair);
  }
  return next;
}

int run_delay(char **args) {
  const char *target = needed_arg(args, "to");
  one_way = number_arg(args, "one-way-ms", 20) * MS;
  uint16_t port;
  int listener = tcp_listen(&port), events = poller();
  struct pair *pairs = NULL;
  watch(events, listener, NULL);
  printf("{\"port\": %d}\n", port);
  fflush(stdout);
  for (uint64_t next = UINT64_MAX;;) {
    struct epoll_event ready[64];
    uint64_t now = now_ns();
    int count = wait_for_events(events, ready, 64, next == UINT64_MAX ? next : next > now ? next - now : 0);
    for (int i = 0, client; i < count; i++) {
      if (ready[i].data.ptr != NULL) {
        receive(ready[i].data.ptr);
        continue;
      }
      while ((client = tcp_accept(listener)) >= 0) open_pair(events, &pairs, client, target);
    }
    next = deliver_all(&pairs);
  }
}
