"""Tests that share something dear run in one process: pytest-xdist 3.8 loses the marks of groups under pytest 9.2."""

import pytest

TOGETHER = {"tests/distill/test_cluster.py": "ray", "tests/documentation/": "site"}  # as their marks xdist_group say


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Grouped(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            name = nodeid.replace("\\", "/")
            return next((group for start, group in TOGETHER.items() if name.startswith(start)), super()._split_scope(nodeid))

    return Grouped(config, log)
