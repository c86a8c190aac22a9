"""Mutation testing: checks that the tests notice small mistakes in the modules whose promises matter most.

`python -m mutation` changes one expression or statement of a module at a time, and runs the tests that can notice it::

    targets.py       the modules, and the test files for each of them, fastest first
    mutants.py       the source of a module -> its mutants
    equivalents.py   mutants that no test can kill, with the reason for each, from equivalents.toml
    sandbox.py       copies of the repository; one forked pytest for each mutant
    __main__.py      the sample, the report, the exit code

Libraries were considered. mutmut 3.8 replaces functions by trampolines, so it mutates neither module-level constants
(the patterns that a lock's fields must match) nor most decorated functions, removes no statement, and draws no sample.
cosmic-ray 8.7 and mutatest 4.0 mutate the user's work tree (or its `__pycache__`) and have one test command for all
modules. cosmic-ray draws no seeded sample, and neither removes statements.
"""
