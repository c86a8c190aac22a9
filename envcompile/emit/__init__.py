"""The back end: Plan -> Dockerfile text, and its tag. Loops and quoting, no policy. No effects."""
