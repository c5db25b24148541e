/* What the tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <kennel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the test with the place, what was expected, and the last text. */
#define CHECK(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #what, kennel_last_error()); \
            abort(); \
        } \
    } while (0)

#define IS(result, expected) \
    do { \
        int result_ = (result); \
        if (result_ != (expected)) { \
            fprintf(stderr, "%s:%d: %s is %d, not %s (last error: %s)\n", __FILE__, __LINE__, #result, result_, #expected, \
                    kennel_last_error()); \
            abort(); \
        } \
    } while (0)

/* A key or value that is a text, and its length. */
#define T(text) (text), strlen(text)

#endif
