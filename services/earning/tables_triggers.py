"""Statements that keep what is written in the ledger as it was written."""


def append_only(table: str) -> tuple[tuple[str, str], ...]:
    """Pairs of dialect and statement that make a table refuse every UPDATE and DELETE."""
    function = (
        f"CREATE OR REPLACE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN RAISE EXCEPTION '{table} are append only' "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    postgres = (
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
    sqlite = (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are append only'); END"
        for verb in ("UPDATE", "DELETE")
    )
    return (
        ("postgresql", function),
        ("postgresql", postgres),
        *(("sqlite", statement) for statement in sqlite),
    )
