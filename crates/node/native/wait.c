/* The thread that waits, so that the event loop does not have to wait. A process has one such thread, however many
 * workers it has, and the thread sleeps while there is no wait. The thread pool of libuv stays free for the files and
 * sockets of the program. */
#include "addon.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* the list has a new wait */
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER; /* the thread has finished asking for a wait */
static wait *list;
static bool runs;

int64_t now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

wait *new_wait(handle *h, enum wait_kind kind, int64_t wait_ms, const bytes *copied) {
    wait *w = calloc(1, sizeof *w);
    size_t len = copied == NULL ? 0 : copied->len;
    char *copy = malloc(len + 1);
    if (w == NULL || copy == NULL) {
        free(w);
        free(copy);
        return NULL;
    }
    if (len > 0)
        memcpy(copy, copied->at, len);
    w->of = h->of;
    w->h = h;
    w->kind = kind;
    w->bytes = copy;
    w->bytes_len = len;
    w->began = now_ms();
    w->due = w->began + 1;
    w->until = wait_ms < 0 ? -1 : w->began + wait_ms;
    use(h);
    return w;
}

static void free_wait(wait *w) {
    unuse(w->h);
    kennel_free(w->value);
    free(w->bytes);
    free_many(&w->tags);
    free(w->facts);
    free(w->advice);
    free(w);
}

/* Ends a wait whose answer no promise will deliver, with the claim or lock that it got. */
static void discard(wait *w) {
    if (w->got != 0 && w->kind == WAIT_LOCK)
        kennel_unlock(w->got);
    else if (w->got != 0)
        kennel_fail(w->got);
    else if (w->kind == WAIT_CLAIM)
        kennel_withdraw(w->number);
    else if (w->kind == WAIT_STORE)
        kennel_fail(w->number);
    free_wait(w);
}

static void unlink_wait(wait *w) {
    wait **at = &list;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

/* Asks once. Returns whether there is an answer. */
static bool ask(wait *w) {
    bool is_late = w->until >= 0 && now_ms() >= w->until;
    switch (w->kind) {
    case WAIT_CLAIM:
        w->result = kennel_poll(w->number, &w->value, &w->len, &w->got);
        if (w->result == KENNEL_WAIT)
            return false;
        break;
    case WAIT_LOCK:
        w->result = kennel_lock(w->h->k, w->bytes, w->bytes_len, 0, w->max_age, &w->got);
        if ((w->result == KENNEL_NONE || w->result == KENNEL_E_BUSY) && !is_late)
            return false;
        break;
    case WAIT_STORE:
        w->result = kennel_try_complete(w->number, w->bytes, w->bytes_len, &w->how);
        if (w->result != KENNEL_WAIT)
            break;
        if (!is_late)
            return false;
        kennel_fail(w->number);
        w->result = KENNEL_E_BUSY;
        w->facts = strdup("the stripe of the key stayed locked, so the created value is not stored");
        return true;
    }
    if (w->result < 0) {
        w->facts = strdup(kennel_last_facts());
        w->advice = strdup(kennel_last_advice());
    }
    return true;
}

/* Sleeps until a moment, or until the list changes. */
static void sleep_until(int64_t moment) {
#ifdef __APPLE__
    int64_t ms = moment - now_ms();
    struct timespec time = {ms < 0 ? 0 : ms / 1000, ms < 0 ? 0 : ms % 1000 * 1000000};
    pthread_cond_timedwait_relative_np(&changed, &list_lock, &time);
#else
    struct timespec time = {moment / 1000, moment % 1000 * 1000000};
    pthread_cond_timedwait(&changed, &list_lock, &time);
#endif
}

/* How many milliseconds pass before the thread asks again: a tenth of the age of the wait, from 1 to 20. */
static int64_t pause_of(int64_t age) {
    int64_t pause = age / 10;
    return pause < 1 ? 1 : pause > 20 ? 20 : pause;
}

static void *run(void *unused) {
    (void)unused;
    pthread_mutex_lock(&list_lock);
    for (;;) {
        wait *first = list;
        for (wait *w = list; w != NULL; w = w->next)
            first = w->due < first->due ? w : first;
        if (first == NULL) {
            pthread_cond_wait(&changed, &list_lock);
        } else if (first->due > now_ms()) {
            sleep_until(first->due);
        } else {
            first->is_busy = true;
            pthread_mutex_unlock(&list_lock);
            bool is_answered = ask(first);
            pthread_mutex_lock(&list_lock);
            first->is_busy = false;
            first->due = now_ms() + pause_of(now_ms() - first->began);
            if (is_answered) {
                unlink_wait(first);
                /* This thread holds the lock, so the environment cannot end meanwhile. */
                napi_call_threadsafe_function(first->of->answers, first, napi_tsfn_nonblocking);
            }
            pthread_cond_broadcast(&asked);
        }
    }
    return NULL;
}

/* Starts the thread, unless it runs. The caller holds the lock. */
static bool start(void) {
    if (runs)
        return true;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    /* Block all signals in the new thread, so that the program's own threads get them. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    runs = pthread_create(&thread, NULL, run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (runs)
        pthread_detach(thread);
    return runs;
}

napi_value begin_wait(wait *w) {
    environment *e = w->of;
    napi_value promise = NULL;
    pthread_mutex_lock(&list_lock);
    bool started = start();
    pthread_mutex_unlock(&list_lock);
    if (!started || napi_create_promise(e->env, &w->deferred, &promise) != napi_ok) {
        discard(w);
        napi_throw(e->env, error_of(e, KENNEL_E_IO, "the system has no thread for those who wait", ""));
        return NULL;
    }
    if (e->waiting++ == 0)
        napi_ref_threadsafe_function(e->env, e->answers);
    pthread_mutex_lock(&list_lock);
    w->next = list;
    list = w;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&list_lock);
    return promise;
}

static const char *or_empty(const char *text) {
    return text == NULL ? "" : text;
}

/* Settles the promise of a wait. Runs in the thread of the environment. */
static void answer(napi_env env, napi_value callback, void *context, void *data) {
    (void)callback;
    (void)context;
    wait *w = data;
    if (env == NULL) {
        discard(w);
        return;
    }
    environment *e = w->of;
    if (--e->waiting == 0)
        napi_unref_threadsafe_function(env, e->answers);
    if (w->result < 0)
        napi_reject_deferred(env, w->deferred, error_of(e, w->result, or_empty(w->facts), or_empty(w->advice)));
    else
        napi_resolve_deferred(env, w->deferred, answer_of(w));
    if (w->kind == WAIT_CLAIM && w->result == KENNEL_E_NO_HANDLE)
        kennel_withdraw(w->number);
    free_wait(w);
}

bool prepare_waits(environment *e) {
    napi_value name;
    napi_create_string_utf8(e->env, "kennel", NAPI_AUTO_LENGTH, &name);
    if (napi_create_threadsafe_function(e->env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, answer, &e->answers) != napi_ok)
        return false;
    return napi_unref_threadsafe_function(e->env, e->answers) == napi_ok;
}

void end_waits(environment *e) {
    wait *ended = NULL;
    pthread_mutex_lock(&list_lock);
    for (wait *w = list; w != NULL;) {
        if (w->of != e) {
            w = w->next;
        } else if (w->is_busy) {
            pthread_cond_wait(&asked, &list_lock);
            w = list;
        } else {
            unlink_wait(w);
            w->next = ended;
            ended = w;
            w = list;
        }
    }
    pthread_mutex_unlock(&list_lock);
    while (ended != NULL) {
        wait *next = ended->next;
        discard(ended);
        ended = next;
    }
    napi_release_threadsafe_function(e->answers, napi_tsfn_abort);
}
