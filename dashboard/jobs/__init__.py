"""Background work: what a job is, who may run it, and the process that does. Pure: no database, no web."""
