"""The seed of what is drawn: the same in every run; with ACTD_TEST_RANDOM=1 a new one, which all
processes of the run share. ACTD_TEST_SEED gives one again."""

import os
import random

if os.environ.get("ACTD_TEST_RANDOM"):
    os.environ.setdefault("ACTD_TEST_SEED", str(random.SystemRandom().randrange(2**32)))

SEED = int(os.environ.get("ACTD_TEST_SEED", 5))
