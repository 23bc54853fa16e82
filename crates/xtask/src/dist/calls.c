/* Linked into a program that calls `mcount` at the head of each function: counts these calls by the place that they come
   from, in the file that the variable names. Places are told from the start of the program, so that they fit the map that
   the linker writes; a file that is there is counted on in. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern char __executable_start, etext;
static unsigned *calls;

__attribute__((constructor)) static void open_calls(void) {
    const char *path = getenv("FERROALLOY_CALLS");
    if (!path)
        return;
    size_t bytes = sizeof(unsigned) * (size_t)(&etext - &__executable_start);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        return;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED)
        calls = memory;
}

void mcount(void) {
    unsigned *all = calls;
    if (all)
        all[(char *)__builtin_return_address(0) - &__executable_start]++;
}
