"""The API server goes away for a while, or watches are cut: the operator neither acts blindly nor stays deaf."""

from __future__ import annotations

import time

import pytest

from pgwarden.kube.lease import LEASE_SECONDS
from pgwarden.kube.process import DRAIN_SECONDS, END_SECONDS
from tests.support.api_proxy import ApiProxy
from tests.support.workplace import Workplace

pytestmark = pytest.mark.timeout(900)

OUTAGE_SECONDS = 30.0
STANDS_BY_SECONDS = 5.0


def test_a_short_outage_is_ridden_out_by_the_same_process(workplace: Workplace, proxy: ApiProxy) -> None:
    with workplace.operator(proxy) as operator:
        operator.wait_until_leading()
        proxy.refuse()
        workplace.back_up("short-outage")
        time.sleep(3)
        proxy.accept()
        workplace.wait_ready("DatabaseBackup", "short-outage")
        assert operator.running


def test_half_a_minute_without_the_api_server_costs_the_lease_and_nothing_else(
    workplace: Workplace, proxy: ApiProxy
) -> None:
    with workplace.operator(proxy, leaseName="outage") as operator:
        operator.wait_until_leading()
        uid = workplace.back_up("outage", maxRateKiB=4096)
        workplace.wait(lambda: bool(workplace.owned("Pod", uid)), "the backup's pod")
        proxy.refuse()
        began = time.monotonic()
        # Somebody else may lead once the lease has run out: by then it works no longer. It ends once it has tried for a
        # while to deliver its last Events, and the kubelet starts it again.
        workplace.wait(lambda: not operator.leading, "the leader to step down", seconds=LEASE_SECONDS)
        assert operator.wait(LEASE_SECONDS + DRAIN_SECONDS + END_SECONDS) == 1
    with workplace.operator(proxy, leaseName="outage") as operator:
        until = max(began + OUTAGE_SECONDS, time.monotonic() + STANDS_BY_SECONDS)
        while time.monotonic() < until:
            assert operator.running, operator.tail()
            assert not operator.leading
            time.sleep(0.5)
        proxy.accept()
        body = workplace.wait_ready("DatabaseBackup", "outage")
        assert [attempt["number"] for attempt in body["status"]["attempts"]] == [1]
        assert len(workplace.owned("Job", uid)) == 1


def test_cut_watches_are_taken_up_again(workplace: Workplace, proxy: ApiProxy) -> None:
    with workplace.operator(proxy) as operator:
        operator.wait_until_leading()
        workplace.wait(lambda: proxy.cut_watches() >= 7, "a watch for each kind, Jobs and pods")
        uid = workplace.back_up("cut")
        workplace.wait(lambda: bool(workplace.owned("Job", uid)), "its Job")
        for _ in range(5):
            proxy.cut_watches()
            time.sleep(0.2)
        workplace.wait_ready("DatabaseBackup", "cut")
        assert len(workplace.owned("Job", uid)) == 1
        assert operator.running
