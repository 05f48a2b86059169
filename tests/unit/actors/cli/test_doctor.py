"""What the doctor sees, and what it advises."""

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.cli.health_checks import (
    Verdict,
    check_clock,
    check_disk,
    check_file_system,
    check_permissions,
    check_versions,
    file_system_of,
)
from actors.cli.version import VersionReport
from cluster.egress.receipt_endpoint import cannot_listen
from cluster.local.platform_lock import PlatformAddress, PlatformLock
from pipeline.limits import DISK_FREE_BYTES_LOW, DISK_FREE_BYTES_MIN, WAL_BYTES_MAX
from tests.support.cli_answer import Fill, Shardpost
from tests.support.filled_folder import FilledFolder

VERSIONS = VersionReport(
    shardpost="1", python="3.11.7", ray="2.60.0", scylla_driver="3.29.12", sqlite="3.40.1"
)
MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:26 / /dev/shm rw,nosuid shared:2 - tmpfs tmpfs rw
31 21 0:27 / /net/far rw shared:3 - nfs4 server:/x rw
32 31 0:28 / /net/far/near\\040by rw - xfs /dev/sdb1 rw
33 21 0:29 / /net/home rw - fuse.sshfs me@there: rw
damaged
"""


async def one_message(folder: FilledFolder) -> None:
    await folder.send(await folder.accept(1))


def checks_of(answer: Any, name: str) -> list[dict[str, str]]:
    return [check for check in answer.json["checks"] if check["name"] == name]


def test_all_is_well_with_a_folder_that_a_platform_left(shardpost: Shardpost, fill: Fill) -> None:
    answer = shardpost("doctor", "--data", fill(one_message).path, "--json")
    assert answer.code == 0
    # The disk and the file system are those of whoever runs the tests.
    assert {
        check["name"]: check["verdict"]
        for check in answer.json["checks"]
        if check["name"] not in ("disk", "file system")
    } == dict.fromkeys(
        [
            *("python", "ray", "scylla-driver", "sqlite", "clock", "settings"),
            *("data folder", "permissions", "platform", "core n1/0", "core n1/1"),
        ],
        "ok",
    )
    assert all(check["advice"] is None for check in checks_of(answer, "settings"))


def test_a_setting_that_is_wrong_is_told_and_the_rest_is_looked_at(
    shardpost: Shardpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDPOST_INGESTERS", "0")
    answer = shardpost("doctor", "--json")
    assert answer.code == 9
    assert answer.json["verdict"] == "fail"
    [settings] = checks_of(answer, "settings")
    assert settings["verdict"] == "fail"
    assert "SHARDPOST_INGESTERS" in settings["told"]
    assert checks_of(answer, "python")


def test_a_folder_that_is_not_there_yet_is_a_warning(shardpost: Shardpost, tmp_path: Path) -> None:
    answer = shardpost("doctor", "--data", tmp_path / "new")
    assert answer.code == 0
    assert "shardpost up" in answer.out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["file", "nowhere/at/all", "strange"])
def test_a_folder_that_cannot_be_ours_fails(
    shardpost: Shardpost, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_text("hello")
    (tmp_path / "strange").mkdir()
    answer = shardpost("doctor", "--data", tmp_path / name, "--json")
    assert answer.code == 9
    assert checks_of(answer, "data folder")[0]["verdict"] == "fail"


def test_a_folder_of_another_p_fails(
    shardpost: Shardpost, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDPOST_WINDOWS__WRITE_DEADLINE_MS", "1000")
    answer = shardpost("doctor", "--data", fill(one_message).path, "--json")
    assert answer.code == 9
    assert "write_deadline_ms" in checks_of(answer, "data folder")[0]["told"]


def test_a_core_s_file_that_cannot_be_read_fails(shardpost: Shardpost, fill: Fill) -> None:
    folder = fill(one_message)
    core = next(core for core in folder.generation.cores if folder.folder.core_path(core).exists())
    folder.folder.core_path(core).write_bytes(b"hello" * 1_000)
    answer = shardpost("doctor", "--data", folder.path, "--json")
    assert answer.code == 9
    [check] = checks_of(answer, f"core {core.node}/{core.shard}")
    assert check["verdict"] == "fail"
    assert "restore it from a copy" in check["advice"]


@pytest.mark.parametrize(
    ("silent_ms", "told"),
    [(500, "its process is alive"), (5_000, "was last heard of 5.0 s ago")],
)
def test_a_heart_that_does_not_beat_fails_while_the_platform_runs(
    shardpost: Shardpost, fill: Fill, silent_ms: int, told: str
) -> None:
    async def beating(folder: FilledFolder) -> None:
        folder.clock.advance(60_000 - silent_ms)
        await folder.beat()

    path = fill(beating).path
    assert shardpost("doctor", "--data", path, "--json").code == 0
    lock = PlatformLock.take(path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17))
        answer = shardpost("doctor", "--data", path, "--json")
    finally:
        lock.release()
    assert checks_of(answer, "platform")[0]["told"] == "process 17"
    beats = checks_of(answer, "core n1/0")[0]
    assert told in beats["told"]
    assert answer.code == (0 if beats["verdict"] == "ok" else 9)
    assert (beats["verdict"] == "ok") == (silent_ms < 4_000)


def test_a_core_that_nobody_serves_fails_while_the_platform_runs(
    shardpost: Shardpost, fill: Fill
) -> None:
    path = fill(one_message).path
    lock = PlatformLock.take(path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17))
        answer = shardpost("doctor", "--data", path, "--json")
    finally:
        lock.release()
    assert answer.code == 9
    assert checks_of(answer, "core n1/0")[0]["told"] == "no process serves it"


def test_what_troubles_a_running_platform_is_told_by_doctor_and_status(
    shardpost: Shardpost, fill: Fill
) -> None:
    path = fill(one_message).path
    lock = PlatformLock.take(path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17))
        lock.tell_troubles(["the receiver of receipts: its port is taken"])
        answer = shardpost("doctor", "--data", path, "--json")
        status = shardpost("status", "--data", path)
        as_json = shardpost("status", "--data", path, "--json")
    finally:
        lock.release()
    [trouble] = checks_of(answer, "trouble")
    assert (answer.code, trouble["verdict"]) == (9, "fail")
    assert trouble["told"] == "the receiver of receipts: its port is taken"
    assert "\nTROUBLE: the receiver of receipts: its port is taken\n" in status.out
    assert as_json.json["troubles"] == [trouble["told"]]


def test_what_the_platform_works_around_is_a_warning(shardpost: Shardpost, fill: Fill) -> None:
    path = fill(one_message).path
    lock = PlatformLock.take(path)
    try:
        lock.publish(PlatformAddress(ray_address="x", namespace="s", dashboard_url="", pid=17))
        lock.tell_troubles([], ["node 10.0.0.2 does not answer"])
        answer = shardpost("doctor", "--data", path, "--json")
        status = shardpost("status", "--data", path)
    finally:
        lock.release()
    [warning] = checks_of(answer, "warning")
    assert (warning["verdict"], warning["told"]) == ("warn", "node 10.0.0.2 does not answer")
    assert "\nWARNING: node 10.0.0.2 does not answer\n" in status.out


RECEIPTS = """
[connectors.hooks]
kind = "webhook"
channels = ["sms"]
url = "https://provider.example/"
receipts = true
receipt_secrets = ["env:HOOKS_SECRET"]
"""


def test_what_up_would_refuse_is_a_warning_that_says_what_to_change(
    shardpost: Shardpost, fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(host: str, port: int) -> None:
        raise cannot_listen(host, port, OSError(errno.EADDRINUSE, "in use"))

    monkeypatch.setattr("actors.ways_out.refuse_taken", taken)
    (tmp_path / "shardpost.toml").write_text(RECEIPTS)
    answer = shardpost("doctor", "--data", fill(one_message).path, "--json")
    secret, port = checks_of(answer, "ways out")
    assert answer.json["verdict"] in ("warn", "fail")
    assert (secret["verdict"], port["verdict"]) == ("warn", "warn")
    assert secret["told"].startswith("connectors.hooks: secret env:HOOKS_SECRET: set the variable")
    assert port["told"] == (
        "receipts.port = 8090: another program listens there on 127.0.0.1: end it, or set another"
        " port"
    )


def test_a_log_that_grew_long_is_a_warning(
    shardpost: Shardpost, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fill(one_message).path
    monkeypatch.setattr("actors.cli.doctor._wal_bytes", lambda _path: 5 * WAL_BYTES_MAX)
    answer = shardpost("doctor", "--data", path, "--json")
    assert answer.code == 0
    assert answer.json["verdict"] == "warn"
    assert "start the platform" in checks_of(answer, "core n1/0")[0]["advice"]


# --- single checks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "python", "failed"),
    [
        ({}, (3, 11), []),
        ({}, (3, 10), ["python"]),
        ({"ray": None}, (3, 12), ["ray"]),
        ({"scylla_driver": None}, (3, 12), ["scylla-driver"]),
        ({"sqlite": "3.29.0"}, (3, 12), ["sqlite"]),
        ({"sqlite": "3.30.0"}, (3, 12), []),
    ],
)
def test_versions_that_are_too_old_fail(
    versions: dict[str, str | None], python: tuple[int, int], failed: list[str]
) -> None:
    report = VersionReport(
        **{name: versions.get(name, getattr(VERSIONS, name)) for name in VERSIONS.__struct_fields__}
    )
    checks = check_versions(report, python=python)
    assert [check.name for check in checks if check.verdict is Verdict.FAIL] == failed
    assert all(check.advice for check in checks if check.verdict is not Verdict.OK)


def test_a_machine_without_a_boot_clock_is_a_warning() -> None:
    assert check_clock(SimpleNamespace(CLOCK_BOOTTIME=7)).verdict is Verdict.OK
    assert check_clock(SimpleNamespace()).verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o700, Verdict.OK), (0o750, Verdict.WARN), (0o701, Verdict.WARN)]
)
def test_a_folder_that_others_may_look_into_is_a_warning(
    tmp_path: Path, mode: int, verdict: Verdict
) -> None:
    tmp_path.chmod(mode)
    assert check_permissions(tmp_path).verdict is verdict


def test_a_folder_that_may_not_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.cli.health_checks.os.access", lambda *_: False)
    assert check_permissions(tmp_path).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("free_bytes", "verdict"),
    [
        (DISK_FREE_BYTES_LOW, Verdict.OK),
        (DISK_FREE_BYTES_LOW - 1, Verdict.WARN),
        (DISK_FREE_BYTES_MIN - 1, Verdict.FAIL),
    ],
)
def test_a_disk_that_is_nearly_full_is_told(
    tmp_path: Path, free_bytes: int, verdict: Verdict
) -> None:
    assert check_disk(tmp_path, free_bytes=free_bytes).verdict is verdict


def test_the_disk_that_is_looked_at_is_the_folder_s(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free // (1024 * 1024)
    told = int(check_disk(tmp_path).told.split()[0].replace(",", ""))
    assert abs(told - free) < 1_024


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/shardpost", "ext4"),
        ("/dev/shm/x", "tmpfs"),
        ("/net/far/x", "nfs4"),
        ("/net/far/near by/x", "xfs"),
        ("/net/farther", "ext4"),
    ],
)
def test_a_folder_lies_on_the_file_system_that_is_mounted_nearest(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [("ext4", Verdict.OK), ("tmpfs", Verdict.WARN), ("nfs4", Verdict.WARN)],
)
def test_file_systems_that_forget_or_are_far_are_warnings(
    tmp_path: Path, kind: str, verdict: Verdict
) -> None:
    mounts = f"1 0 8:1 / / rw - {kind} x rw\n"
    assert check_file_system(tmp_path, mounts=mounts).verdict is verdict


@pytest.mark.parametrize("call", ["fsync", "flock"])
def test_a_file_system_without_syncs_or_locks_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    module = "os" if call == "fsync" else "fcntl"
    monkeypatch.setattr(f"actors.cli.health_checks.{module}.{call}", refuse)
    check = check_file_system(tmp_path, mounts="")
    assert check.verdict is Verdict.FAIL
    assert "not supported" in check.told


def test_a_folder_that_is_locked_has_locks_that_work(tmp_path: Path) -> None:
    lock = PlatformLock.take(tmp_path)
    try:
        assert check_file_system(tmp_path, mounts="").verdict is Verdict.OK
    finally:
        lock.release()
