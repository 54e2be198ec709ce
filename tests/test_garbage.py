"""Garbage collection is put off for as long as anybody needs that."""

import gc
import threading

import pytest

from vd_forecasting.garbage import no_garbage_collection


def test_it_is_off_until_the_last_of_several_threads_has_left() -> None:
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with no_garbage_collection():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with no_garbage_collection():
        assert not gc.isenabled()
        thread.start()
        assert entered.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_it_is_on_again_after_an_error_and_stays_off_where_it_was() -> None:
    with pytest.raises(ZeroDivisionError), no_garbage_collection():
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
