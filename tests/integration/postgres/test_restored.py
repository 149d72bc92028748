"""While a check of a restore waits for its answer, other threads go on: one of them keeps the server alive."""

from __future__ import annotations

import threading

from pgwarden.postgres.restored import read_answer
from tests.support.postgres import PostgresServer


def test_a_query_that_takes_long_holds_up_no_other_thread(postgres: PostgresServer) -> None:
    beats, ended = 0, threading.Event()

    def beat() -> None:
        nonlocal beats
        while not ended.wait(0.02):
            beats += 1

    thread = threading.Thread(target=beat)
    with postgres.connect() as connection:
        connection.pgconn.send_query_params(b"SELECT pg_sleep(2)", [])
        connection.pgconn.set_single_row_mode()
        thread.start()
        answer = read_answer(connection.pgconn)
        ended.set()
        thread.join()
    assert not answer.error
    # Held up by a call that does not let go, the thread would not have come to a single beat.
    assert beats >= 5
