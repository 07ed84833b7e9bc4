import contextvars
import threading
import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

import quantization as qz
from quantization import threads


@pytest.fixture
def four_threads(monkeypatch):
    monkeypatch.setattr(threads, "_affinity", lambda: 4)
    monkeypatch.setattr(threads, "_quota", lambda: None)
    threads._kept_quota.cache_clear()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_the_least_limit_counts(monkeypatch, four_threads):
    assert threads.available() == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads.available() == 3
    threads._kept_quota.cache_clear()
    monkeypatch.setattr(threads, "_quota", lambda: 2)
    assert threads.available() == 2
    monkeypatch.setattr(threads, "_affinity", lambda: 1)
    assert threads.available() == 1


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "2.5"])
def test_what_openmp_would_not_read_is_no_limit(monkeypatch, four_threads, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.available() == 4


def cgroup(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 2),  # the group above is the tighter one
        ("0::/a\n", {"a/cpu.max": "50000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 3),
        ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("4:memory:/x\n", {"cpu/x/cpu.cfs_quota_us": "100000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_the_quota_of_a_control_group(tmp_path, membership, files, expected):
    cgroup(tmp_path / "groups", files)
    (tmp_path / "self").write_text(membership)
    assert threads._quota(tmp_path / "groups", tmp_path / "self") == expected
    assert threads._quota(tmp_path / "groups", tmp_path / "nothing") is None


def test_results_come_back_in_order(four_threads):
    together = threading.Barrier(4, timeout=30)  # breaks unless four calls run at once

    def work(i):
        together.wait()
        return threading.current_thread().name, i * i

    answers = threads.parallel_map(work, 4)
    assert [square for _, square in answers] == [0, 1, 4, 9]
    assert len({name for name, _ in answers}) == 4


def test_the_costliest_begin_first(monkeypatch, four_threads):
    monkeypatch.setattr(threads, "_affinity", lambda: 2)
    begun, together = [], threading.Barrier(2, timeout=30)

    def work(i):
        begun.append(i)
        if len(begun) <= 2:
            together.wait()
        return i

    assert threads.parallel_map(work, 4, sizes=[1, 5, 2, 9]) == [0, 1, 2, 3]
    assert set(begun[:2]) == {1, 3}


@pytest.mark.parametrize("cpus", [1, 4])
def test_every_call_has_one_thread_and_what_was_comes_back(monkeypatch, four_threads, cpus):
    monkeypatch.setattr(threads, "_affinity", lambda: cpus)
    chosen = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = [pool["num_threads"] for pool in threadpool_info()]

        def work(i):
            torch.ones(8, 8) @ torch.ones(8, 8)
            return max(pool["num_threads"] for pool in threadpool_info()), torch.get_num_threads(), threads.available()

        assert set(threads.parallel_map(work, 3)) == {(1, 1, 1)}
        assert torch.get_num_threads() == 3
        assert [pool["num_threads"] for pool in threadpool_info()] == before
    finally:
        torch.set_num_threads(chosen)
    assert threads.available() == cpus


def test_two_callers_share_one_hold(four_threads):
    chosen = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        entered, leave = threading.Event(), threading.Event()
        seen = []

        def first():
            threads.parallel_map(lambda i: (entered.set(), leave.wait(30)), 1)

        caller = threading.Thread(target=first)
        caller.start()
        assert entered.wait(30)
        threads.parallel_map(lambda i: seen.append(torch.get_num_threads()), 1)
        leave.set()
        caller.join()
        assert seen == [1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(chosen)


def test_parallel_work_starts_no_further_threads(four_threads):
    def outer(i):
        return {threading.current_thread().name} == set(threads.parallel_map(lambda j: threading.current_thread().name, 3))

    assert all(threads.parallel_map(outer, 4))


def test_the_first_failure_by_index_is_reported_and_the_rest_dropped(monkeypatch, four_threads):
    monkeypatch.setattr(threads, "_affinity", lambda: 2)
    ran = []

    def work(i):
        ran.append(i)
        if i == 0:
            time.sleep(0.05)
        if i < 2:
            raise ValueError(str(i))
        time.sleep(0.01)

    with pytest.raises(ValueError, match=r"^0$"):
        threads.parallel_map(work, 1000)
    assert len(ran) < 1000


def test_context_variables_are_the_callers(four_threads):
    name = contextvars.ContextVar("name", default="nobody")
    name.set("caller")
    with np.errstate(divide="raise"):
        assert threads.parallel_map(lambda i: (name.get(), np.geterr()["divide"]), 4) == [("caller", "raise")] * 4


def test_what_a_call_sets_reaches_neither_the_next_nor_the_caller(four_threads):
    name = contextvars.ContextVar("name", default="nobody")

    def work(i):
        seen = name.get()
        name.set(str(i))
        return seen

    assert threads.parallel_map(work, 50) == ["nobody"] * 50
    assert name.get() == "nobody"


def test_the_caller_works_too(four_threads):
    assert threading.current_thread().name in threads.parallel_map(lambda i: threading.current_thread().name, 1000)


def test_blas_is_held_while_a_solve_steps_and_never_while_a_caller_looks(four_threads):
    def now():
        return [pool["num_threads"] for pool in threadpool_info()]

    points = np.random.default_rng(0).standard_normal((200, 3))
    qz.quantize(points, 4, rng=0)  # loads what it needs
    before, seen = now(), []

    class Watched(qz.Lloyd):
        def solve(self, problem, codes, rng):
            for state in super().solve(problem, codes, rng):
                seen.append(max(now()))
                yield state

    for _ in qz.iterate(points, 4, solver=Watched(), rng=0):
        assert now() == before
    assert set(seen) == {1}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 255, 256, 1000, 10**6])
def test_rows_are_cut_into_slices_that_hold_some(count):
    slices = threads.parallel_rows(lambda rows: rows, count)
    assert [i for rows in slices for i in (rows.start, rows.stop)][1:-1:2] == [rows.start for rows in slices[1:]]
    assert all(rows.stop > rows.start for rows in slices)
    assert (slices[0].start, slices[-1].stop) == (0, count) if count else slices == []
