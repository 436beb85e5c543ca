"""Background jobs: job values, leases, the runner's loop and its child process. Pure: no database, no web."""
