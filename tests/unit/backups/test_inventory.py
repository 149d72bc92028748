"""What is written down of a server never holds a secret."""

from __future__ import annotations

import pytest

from pgwarden.backups.inventory import hba_line, ident_line, setting


@pytest.mark.parametrize(
    "name",
    ["primary_conninfo", "archive_command", "ssl_passphrase_command", "my.password", "vault.token", "ext.secret_key"],
)
def test_values_that_may_be_secret_are_left_out(name: str) -> None:
    assert setting(name, "hunter2", "configuration file").value is None


def test_other_values_are_kept() -> None:
    assert setting("max_connections", "200", "configuration file").value == "200"


def test_rules_read_as_in_the_file_without_secret_options() -> None:
    row = (
        7,
        "host",
        ["all"],
        ["app", "+team"],
        "10.0.0.0",
        "255.0.0.0",
        "ldap",
        ["ldapserver=l", "ldapbindpasswd=x"],
        None,
    )
    assert hba_line(row) == "host all app,+team 10.0.0.0 255.0.0.0 ldap ldapserver=l # 1 secret options left out"
    assert hba_line((8, None, None, None, None, None, None, None, "bad line")) == "# line 8: bad line"
    assert ident_line((1, "map", "root", "postgres", None)) == "map root postgres"
