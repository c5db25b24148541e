/* A page that one caller of all processes renders, and all others read.
 *
 *     cc page.c $(pkg-config --cflags --libs kennel) -o page
 *     ./page /dev/shm/pages.cache
 */
#include <kennel.h>
#include <stdio.h>
#include <string.h>

static const char *render(void) {
    puts("rendering");
    return "<h1>Hello</h1>";
}

int main(int argc, char **argv) {
    kennel *cache;
    kennel_create_options how = KENNEL_CREATE_OPTIONS_INIT;
    kennel_claim claim;
    char *page;

    if (argc != 2) {
        fprintf(stderr, "usage: page FILE\n");
        return 2;
    }
    if (kennel_open(argv[1], NULL, &cache) < 0) {
        fprintf(stderr, "page: %s\n", kennel_last_error());
        return 1;
    }
    how.ttl_ms = 300000;
    switch (kennel_begin(cache, "page:42", 7, &how, &page, NULL, &claim)) {
    case KENNEL_CREATE: {
        /* All others wait for this value, or have the stale one. */
        const char *made = render();
        if (kennel_complete(claim, made, strlen(made)) < 0)
            fprintf(stderr, "page: not cached: %s\n", kennel_last_error());
        puts(made);
        break;
    }
    case KENNEL_OK:
        puts(page);
        break;
    default: /* A cache that cannot be used is no reason to fail. */
        fprintf(stderr, "page: %s\n", kennel_last_error());
        puts(render());
    }
    kennel_free(page);
    kennel_close(cache);
    return 0;
}
