"""What the commands print: tables, as a person would want to see them."""

from collections.abc import Mapping, Sequence
from typing import cast

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import instants, overlaps
from cli.apply import Applied
from cli.demo import Shown
from cli.retail import BrokenRow
from cli.verify import Violation
from guerdon.feed.v1 import program_document_pb2 as pb

_SIGNS = {
    pb.Difference.CHANGE_ADDED: ("+", "green"),
    pb.Difference.CHANGE_CHANGED: ("~", "yellow"),
    pb.Difference.CHANGE_REMOVED: ("-", "red"),
    pb.Difference.CHANGE_KEPT: ("=", "dim"),
}
_STATE_STYLES = {
    pb.ProgramVersion.STATE_IN_FORCE: "green",
    pb.ProgramVersion.STATE_SCHEDULED: "yellow",
    pb.ProgramVersion.STATE_REFUSED: "red",
    pb.ProgramVersion.STATE_PAST: "dim",
}
_LEVEL_STYLES = {"gold": "yellow", "silver": "bright_white", "member": "dim"}


def difference_table(planned: Sequence[Applied]) -> RenderableType:
    """How documents differ from what is in force, or that they do not; what waits, what adds up."""
    changes = [(plan.document.file.name, each) for plan in planned for each in plan.differences]
    return Group(
        changes_table(changes),
        *(
            Text(
                f"Version {later.version} of {plan.document.service}, by {later.author}, "
                f"is scheduled for {instants.text(later.publish_time)}.",
                style="yellow",
            )
            for plan in planned
            if (later := plan.scheduled) and later.state == pb.ProgramVersion.STATE_SCHEDULED
        ),
        *(
            Text(note, style="yellow")
            for plan in planned
            for note in overlaps.notes(plan.document.message)
        ),
    )


def changes_table(changes: Sequence[tuple[str, pb.Difference]]) -> RenderableType:
    """Differences, each with the document that it is in; a line that says that there are none."""
    if not changes:
        return Text("Nothing differs from what is in force.")
    table = headed("", "file", "field", "before", "after")
    for name, difference in changes:
        sign, style = _SIGNS.get(difference.change, ("?", ""))
        add_row(
            table,
            sign,
            name,
            difference.path,
            _short(difference.before),
            _short(difference.after),
            style=style,
        )
    return table


def program_versions_table(found: Mapping[str, Sequence[pb.ProgramVersion]]) -> RenderableType:
    """The versions of a program, service by service, newest first."""
    table = headed("service", "version", "state", "counts from, UTC", "author", "applied, UTC")
    for service, listed in found.items():
        for index, one in enumerate(listed):
            name = pb.ProgramVersion.State.Name(one.state).removeprefix("STATE_")
            state = name.replace("_", " ").lower()
            add_row(
                table,
                service if index == 0 else "",
                str(one.version),
                f"{state}: {one.failure}" if one.failure else state,
                instants.short(one.publish_time),
                one.author,
                instants.short(one.create_time),
                style=_STATE_STYLES.get(one.state, ""),
            )
    return table


def rolled_back(
    service: str, to: int, applied: pb.AppliedDocument, *, dry_run: bool
) -> RenderableType:
    """What a rollback did, in a line."""
    later = applied.scheduled if applied.HasField("scheduled") else None
    if dry_run:
        return Text(f"Version {applied.version} of {service} stays in force: this was a dry run.")
    if later is not None:
        when = instants.text(later.publish_time)
        return Text(f"Version {later.version} of {service} is scheduled for {when}.")
    return Text(f"Version {applied.version} of {service} is in force; it says what {to} said.")


def versions_table(applied: Sequence[Applied]) -> RenderableType:
    """The version in force of each document, and what is scheduled."""
    table = headed("service", "version", "changes", "scheduled")
    for one in applied:
        later = one.scheduled
        words = f"{later.version} from {instants.text(later.publish_time)}" if later else ""
        add_row(table, one.document.service, str(one.version), str(len(one.differences)), words)
    return table


def violations_table(violations: Sequence[Violation]) -> RenderableType:
    """What a verification found."""
    if not violations:
        return Text("Verified: nothing is violated.", style="green")
    table = headed("service", "rule", "subject", "detail", style="red")
    for violation in violations:
        add_row(table, violation.service, violation.rule, violation.subject, violation.detail)
    return table


def broken_table(broken: Sequence[BrokenRow]) -> RenderableType:
    """The rows of a file that cannot be read."""
    table = headed("row", "invoice (skipped whole)", "what is wrong")
    for row in broken:
        add_row(table, str(row.line), row.invoice or "?", row.complaint)
    return table


def addresses_table(addresses: Mapping[str, str], redis_url: str) -> RenderableType:
    """Where a cluster listens."""
    table = headed("part", "address")
    for service, address in addresses.items():
        add_row(table, service, address)
    add_row(table, "boards", redis_url)
    return table


def demo_page(summary: Mapping[str, object], shown: Shown) -> RenderableType:
    """The result of the demo."""
    return Group(
        _points_panel(summary),
        _counts(summary),
        _top_table(shown),
        _redemptions_table(summary),
        _close_tables(shown),
    )


def _points_panel(summary: Mapping[str, object]) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    for heading, key in (
        ("issued", "points_issued"),
        ("bonus", "points_bonus"),
        ("taken back", "points_reversed"),
        ("redeemed", "points_redeemed"),
        ("to spend", "points_available"),
        ("owed", "points_debt"),
    ):
        table.add_row(heading, Text(f"{cast(int, summary[key]):,}", justify="right", style="bold"))
    return Panel(
        table,
        title=f"Points of {summary['members']} members, {summary['purchases']} purchases, "
        f"{summary['reversals']} returns",
        expand=False,
    )


def _counts(summary: Mapping[str, object]) -> RenderableType:
    table = headed("tier", "members", title="Tiers and badges")
    for level, members in cast(Mapping[str, int], summary["tiers"]).items():
        add_row(table, Text(level, style=_LEVEL_STYLES.get(level, "")), str(members))
    table.add_section()
    for badge, members in cast(Mapping[str, int], summary["badges"]).items():
        add_row(table, f"badge {badge}", str(members))
    return table


def _top_table(shown: Shown) -> RenderableType:
    table = headed("rank", "customer", "points", "badges", title="Top ten")
    for row in shown.top:
        badges = ", ".join(shown.badges_of_top.get(row.member_id, ()))
        add_row(table, str(row.rank), row.member_id, f"{row.score:,}", badges)
    return table


def _redemptions_table(summary: Mapping[str, object]) -> RenderableType:
    table = headed("reward", "completed", "sold out", "too few points", title="Redemptions")
    for reward, counts in cast(Mapping[str, Mapping[str, int]], summary["redemptions"]).items():
        add_row(
            table,
            reward,
            str(counts["completed"]),
            str(counts["SOLD_OUT"]),
            str(counts["INSUFFICIENT_POINTS"]),
        )
    return table


def _close_tables(shown: Shown) -> RenderableType:
    levels = headed("customer", "is", "spends to become", "missing", title="Close to a level")
    for near in shown.near_levels:
        pounds = f"£{near.missing_minor // 100}.{near.missing_minor % 100:02d}"
        add_row(levels, near.customer, near.level, near.next_level, pounds)
    rewards = headed("customer", "points", "missing", title="Close to ten pounds off")
    for close in shown.near_rewards:
        add_row(rewards, close.customer, f"{close.points_available:,}", f"{close.points_missing:,}")
    return Group(levels, rewards)


def headed(*headings: str, title: str | None = None, style: str = "") -> Table:
    """Make a table with these headings; those of numbers stand to the right."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", style=style)
    numeric = {"members", "points", "rank", "missing", "completed", "sold out", "too few points"}
    numeric |= {"entry", "available"}
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numeric else "left")
    return table


def add_row(table: Table, *cells: str | Text, style: str | None = None) -> None:
    """Add a row of cells as they are: brackets in what people write are no markup."""
    texts = [Text(cell) if isinstance(cell, str) else cell for cell in cells]
    table.add_row(*texts, style=style)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
