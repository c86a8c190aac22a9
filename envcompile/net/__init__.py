"""The network and other programs: one HTTP client with one retry policy, and one way to start a program."""
