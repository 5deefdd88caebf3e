/*
 * hidden: does the sandbox of the service hide what is at a path?
 *
 * A file that its owner sees and the service does not is hard to understand: "no such file", or
 * "permission denied" with permissions that allow it.
 */
#pragma once

/* Why what is below that absolute path is not to be seen, with the remedy; NULL: no such reason is
 * known. root comes before the paths that are looked at, for tests; else it is "". */
const char *hidden_reason(const char *root, const char *path);
