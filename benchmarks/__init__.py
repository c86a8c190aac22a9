"""How fast envcompile is, as whole processes beside the tools that people would use instead.

Run as `python -m benchmarks` from the project's root, in the test environment::

    measure       commands run in turn, timed as whole processes
    setting       the scratch folder and the environment that every command gets
    report        tables, ratios and goals
    question      what the example's spec asks, for a resolver that is called directly
    lock          `envcompile lock` beside `uv pip compile`
    dockerfile    `envcompile dockerfile` beside a process that only imports its dependencies
    pip_compile   `envcompile lock` beside `pip-compile`
    made_up       locks of any size
"""
