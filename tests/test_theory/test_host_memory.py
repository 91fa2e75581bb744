"""Free memory: the least of what the machine, control groups and the process's own limit leave."""

import sys

from theory import host_memory


def group(folder, limit, used, kept, version):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    stat = f"anon 7\n{'inactive_file' if version == 2 else 'total_inactive_file'} {kept}\n"
    for name, text in zip((*names, "memory.stat"), (f"{limit}\n", f"{used}\n", stat), strict=True):
        (folder / name).write_text(text)


def free(tmp_path, membership=""):
    (tmp_path / "membership").write_text(membership)
    return host_memory._free_of_groups(tmp_path, tmp_path / "membership")


def test_memory_of_a_control_group_is_what_its_limit_leaves(tmp_path):
    assert host_memory._free_of_groups(tmp_path, tmp_path / "absent") == sys.maxsize
    group(tmp_path / "memory", 5000, 4000, 300, version=1)
    assert free(tmp_path) == 1300
    group(tmp_path, 9000, 9500, 200, version=2)
    assert free(tmp_path) == 0
    group(tmp_path, "max", 9500, 200, version=2)
    assert free(tmp_path) == 1300


def test_the_tightest_of_the_groups_that_a_process_is_in_holds(tmp_path):
    membership = "4:cpu,cpuacct:/elsewhere\n3:memory:/batch/job\n0::/user/session\n"
    group(tmp_path / "memory", 9000, 0, 0, version=1)
    group(tmp_path / "memory/batch", 5000, 0, 0, version=1)
    group(tmp_path / "memory/batch/job", 8000, 0, 0, version=1)
    assert free(tmp_path, membership) == 5000
    group(tmp_path / "user/session", 4000, 1000, 0, version=2)
    assert free(tmp_path, membership) == 3000


def test_free_memory_is_the_least_of_machine_groups_and_process(monkeypatch):
    for name, left in (("_free_of_groups", 5000), ("_free_of_process", 4000)):
        monkeypatch.setattr(host_memory, name, lambda *_, left=left: left)
        assert host_memory.free_host_memory() == left
