import threading
from pathlib import Path

import pytest

from cluster.local.turnstile import Turnstile


def is_free(path: Path, suffix: str) -> bool:
    import fcntl

    with path.with_suffix(suffix).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "n1-0.db"


def test_one_has_the_turn_at_a_time(path: Path) -> None:
    first, second = Turnstile(path), Turnstile(path)
    with first:
        assert not is_free(path, ".write")
        assert is_free(path, ".turn")
    with second:
        assert not is_free(path, ".write")
    assert is_free(path, ".write")


def test_who_waits_comes_before_who_had_the_turn_and_wants_it_again(path: Path) -> None:
    order: list[str] = []
    greedy, patient = Turnstile(path), Turnstile(path)

    def wait_for_it() -> None:
        with patient:
            order.append("patient")

    for _ in range(20):
        greedy.enter()
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        while is_free(path, ".turn"):
            pass  # it is not there yet
        greedy.leave()
        with greedy:
            order.append("greedy")
        waiting.join()
    assert order == ["patient", "greedy"] * 20


def test_a_turn_ends_with_who_had_it(path: Path) -> None:
    turnstile = Turnstile(path)
    turnstile.enter()
    turnstile.close()
    turnstile.close()
    assert is_free(path, ".write")


def test_lock_files_that_cannot_be_made_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Turnstile(tmp_path / "missing" / "n1-0.db").enter()
