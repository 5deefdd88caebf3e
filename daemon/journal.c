/*
 * journal: see journal.h.
 *
 * A datagram is an entry. A field is "NAME=value\n", or "NAME\n", the length as a 64-bit
 * little-endian number, the value and "\n": so a path may hold any byte and begins no field.
 */
#include "daemon/journal.h"

#include "base/log.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Beside those of the entry: text, level, name, place, kind. */
#define OWN_FIELDS      8
#define PARTS_PER_FIELD 3
#define HEADS_BYTES     2048
/* Its queue is short, and a journal that lives reads a burst in less. */
#define PATIENCE_US 50000
/* How often it is looked whether all is read, before a process ends, and how long it takes then to
 * find out who has sent it. */
#define LOOKS   100
#define LOOK_US 1000

struct datagram {
    struct iovec parts[(LOG_FIELDS_MAX + OWN_FIELDS) * PARTS_PER_FIELD];
    size_t n_parts;
    char heads[HEADS_BYTES]; /* names, lengths and numbers */
    size_t heads_len;
    bool is_full; /* something did not fit */
};

static int journal = -1; /* for as long as the process lives */
/* It has not read what it was sent: it is not waited for again before it does. */
static _Atomic bool is_stuck;

static void add_part(struct datagram *datagram, const void *p, size_t len)
{
    datagram->parts[datagram->n_parts++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = len};
}

/* Room for the head of one more field; NULL: there is none. */
static char *reserve_head(struct datagram *datagram, size_t len)
{
    if (len > sizeof datagram->heads - datagram->heads_len ||
        datagram->n_parts + PARTS_PER_FIELD > sizeof datagram->parts / sizeof *datagram->parts) {
        datagram->is_full = true;
        return NULL;
    }
    char *head = datagram->heads + datagram->heads_len;
    datagram->heads_len += len;
    add_part(datagram, head, len);
    return head;
}

static void add_bytes(struct datagram *datagram, const char *name, const char *value, size_t len)
{
    size_t name_len = strlen(name);
    uint64_t encoded = htole64(len);
    char *head = reserve_head(datagram, name_len + 1 + sizeof encoded);
    if (!head)
        return;
    memcpy(head, name, name_len);
    head[name_len] = '\n';
    memcpy(head + name_len + 1, &encoded, sizeof encoded);
    add_part(datagram, value, len);
    add_part(datagram, "\n", 1);
}

static void add_text(struct datagram *datagram, const char *name, const char *value)
{
    add_bytes(datagram, name, value, strlen(value));
}

static void add_number(struct datagram *datagram, const char *name, uint64_t number)
{
    char text[128];
    int len = snprintf(text, sizeof text, "%s=%" PRIu64 "\n", name, number);
    char *head = len < (int)sizeof text ? reserve_head(datagram, (size_t)len) : NULL;
    if (head)
        memcpy(head, text, (size_t)len);
}

static void add_entry(struct datagram *datagram, const struct log_entry *entry)
{
    add_bytes(datagram, "MESSAGE", entry->message, entry->message_len);
    add_number(datagram, "PRIORITY", (uint64_t)log_level_priority(entry->level));
    add_text(datagram, "SYSLOG_IDENTIFIER", "actd");
    add_text(datagram, "CODE_FILE", entry->file);
    add_number(datagram, "CODE_LINE", (uint64_t)entry->line);
    add_text(datagram, "CODE_FUNC", entry->function);
    if (entry->event) {
        add_text(datagram, "MESSAGE_ID", entry->event->id);
        add_text(datagram, "EVENT", entry->event->name);
    }
    for (size_t i = 0; i < entry->n_fields; i++) {
        const struct log_field *field = &entry->fields[i];
        if (field->text)
            add_text(datagram, field->name, field->text);
        else
            add_number(datagram, field->name, field->number);
    }
}

/* Each time to the path: a journal that comes back is found. */
static bool send_entry(const struct log_entry *entry)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX,
                                               .sun_path = "/run/systemd/journal/socket"};
    struct datagram datagram;
    datagram.n_parts = datagram.heads_len = 0;
    datagram.is_full = false;
    add_entry(&datagram, entry);
    struct msghdr message = {.msg_name = (void *)(uintptr_t)&address,
                             .msg_namelen = sizeof address,
                             .msg_iov = datagram.parts,
                             .msg_iovlen = datagram.n_parts};
    if (datagram.is_full)
        return false;
    ssize_t n = sendmsg(journal, &message, MSG_NOSIGNAL | (is_stuck ? MSG_DONTWAIT : 0));
    is_stuck = n < 0 && errno == EAGAIN;
    return n >= 0;
}

void journal_init(void)
{
    const struct timeval patience = {.tv_usec = PATIENCE_US};
    log_init(log_get_level());
    if (!log_is_journal())
        return;
    journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (journal < 0 || setsockopt(journal, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        return; /* lines are as good */
    log_set_sink(send_entry);
}

void journal_settle(void)
{
    int unread;
    if (journal < 0)
        return;
    for (int i = 0; i < LOOKS && ioctl(journal, SIOCOUTQ, &unread) == 0; i++) {
        usleep(LOOK_US);
        if (unread == 0)
            return;
    }
}
