/* Rule 8: the library stays loaded after dlclose, so that its handlers of forks and of threads that end are still there.
 * Usage: stays LIBRARY */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *library;

static void *fails_and_ends(void *unused) {
    int (*fail)(unsigned long) = (int (*)(unsigned long))dlsym(library, "kennel_fail");
    if (fail == NULL || fail(0) >= 0)
        abort();
    dlclose(library);
    return unused;
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc != 2 || (library = dlopen(argv[1], RTLD_NOW)) == NULL)
        abort();
    if (pthread_create(&thread, NULL, fails_and_ends, NULL) != 0 || pthread_join(thread, NULL) != 0)
        abort();
    if (dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) == NULL)
        abort();
    pid_t child = fork();
    int status;
    if (child == 0)
        _exit(0);
    if (waitpid(child, &status, 0) != child || status != 0)
        abort();
    return 0;
}
