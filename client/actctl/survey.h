/*
 * survey: info about a file: what it is made of.
 */
#pragma once

#include "client/actctl/actctl.h"

/* Walks the file at path and prints it. STATUS_FOUND; STATUS_FAULTS: damaged, and what could be
 * reached was printed; or STATUS_FAILED. */
int survey_print(struct actctl *ctl, const char *path);
