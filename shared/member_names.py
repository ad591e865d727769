"""A service's own copy of what names the members: kept in step with the events of earning.

An identifier may name one member after another, and the events about the two come on different
partitions, in any order. So each name carries the instant from which it counts, and an older one
never takes a name from a newer one; a member gives up only names that are still its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from sqlalchemy import Table

from shared.database import Row, Tx
from shared.names import Name, NameMember

Names: TypeAlias = dict[tuple[str, str], dict[str, object]]

_IDENTIFIER = ("program_id", "identifier")
_MEMBER = ("program_id", "member_key")


async def note(tx: Tx, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Note names of members who joined; `rows` have the table's columns.

    A name that another member still has here is taken over if it was given later.
    """
    inserted = await tx.insert(table, rows, ignore_conflicts=True, returning=_IDENTIFIER)
    if len(inserted) == len(rows):
        return
    ours = {(row.program_id, row.identifier) for row in inserted}
    left = {_name(row): dict(row) for row in rows if _name(row) not in ours}
    stored = await _stored(tx, table, list(left))
    await _save(tx, table, [row for name, row in left.items() if _is_newer(row, stored.get(name))])


async def rename(tx: Tx, table: Table, commands: Sequence[NameMember]) -> None:
    """Take over all names of members, and give up those that they have no more."""
    if not commands:
        return
    columns = {column.name for column in table.columns}
    names = [(each.program_id, name.identifier) for each in commands for name in each.names]
    stored = await _stored(tx, table, names)
    places = sorted({(each.program_id, each.member_key) for each in commands})
    owned = await tx.select(table, places, key=_MEMBER, lock=True, order_by=_IDENTIFIER)
    stored |= _rows(table, owned)
    after = dict(stored)
    for command in commands:
        rows = [_row(command, name, columns) for name in command.names]
        kept = {_name(row) for row in rows}
        for name, row in list(after.items()):
            if (row["program_id"], row["member_key"]) == (
                command.program_id,
                command.member_key,
            ) and name not in kept:
                del after[name]
        for row in rows:
            if _is_newer(row, after.get(_name(row))):
                after[_name(row)] = row
    await tx.delete(table, sorted(name for name in stored if name not in after), key=_IDENTIFIER)
    await _save(tx, table, [row for name, row in after.items() if stored.get(name) != row])


def _row(command: NameMember, name: Name, columns: set[str]) -> dict[str, object]:
    row: dict[str, object] = {
        "program_id": command.program_id,
        "member_key": command.member_key,
        "kind": name.kind,
        "identifier": name.identifier,
        "assign_time": name.assign_time,
    }
    return {column: each for column, each in row.items() if column in columns}


def _name(row: Mapping[str, object]) -> tuple[str, str]:
    return str(row["program_id"]), str(row["identifier"])


def _is_newer(row: Mapping[str, object], stored: Mapping[str, object] | None) -> bool:
    if stored is None:
        return True
    new, old = row["assign_time"], stored["assign_time"]
    return isinstance(new, datetime) and isinstance(old, datetime) and new >= old


async def _stored(tx: Tx, table: Table, names: Sequence[tuple[str, str]]) -> Names:
    found = await tx.select(table, sorted(set(names)), key=_IDENTIFIER, lock=True)
    return _rows(table, found)


def _rows(table: Table, found: Sequence[Row]) -> Names:
    columns = [column.name for column in table.columns]
    return {
        (row.program_id, row.identifier): {name: getattr(row, name) for name in columns}
        for row in found
    }


async def _save(tx: Tx, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    update = [column.name for column in table.columns if column.name not in _IDENTIFIER]
    await tx.upsert(table, rows, key=_IDENTIFIER, update=update)
