"""Tables and small invariants; no I/O."""
