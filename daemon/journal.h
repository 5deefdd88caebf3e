/*
 * journal: entries with fields, for systemd's journal, by its native protocol.
 *
 * Our own sender and not libsystemd's, which waits for ever for a journal that does not read (it
 * may hang on the disk that we do not wait for) and reports success where there is none. Here an
 * entry that the journal does not take soon goes to standard error: nothing is lost but its fields.
 */
#pragma once

/* If standard error is the journal, entries go there from now on. Before there are threads; each
 * process does it for itself. */
void journal_init(void);

/* Before a process ends: waits for the journal to read what it was sent, 100 ms at most. The
 * journal finds out by /proc which service an entry is of, and would not know it of a process that
 * is gone: so why a service did not start would not be told where people look. */
void journal_settle(void);
