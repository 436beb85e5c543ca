"""Real servers for tests, the demo and the bench. Nothing here needs pytest."""
