// What the C++ library of a glibc system needs from musl. Debian has no C++
// library for musl, and the program for musl needs one (test/packages).
#include <locale.h>
#include <time.h>
#include <unistd.h>

char __libc_single_threaded = 0;
unsigned __cpu_model[4];
int __cpu_indicator_init(void) { return 0; }
int __cxa_thread_atexit_impl(void (*end)(void *), void *object, void *library) { return 0; }
int _dl_find_object(void *address, void *result) { return -1; }
size_t __strftime_l(char *text, size_t size, const char *format, const struct tm *time, locale_t in) {
  return strftime_l(text, size, format, time, in);
}
unsigned arc4random(void) {
  unsigned number;
  getentropy(&number, sizeof number);
  return number;
}
