"""What the process tests share: the daemon under test, a client, the data and what it holds."""
