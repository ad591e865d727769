"""Names of time zones."""

import difflib
from zoneinfo import ZoneInfo, available_timezones


def complaint(name: str) -> str:
    """What is wrong with the name of a zone, with what may be meant; empty when nothing is."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, a folder, or no name of a file
        return f"{name} is no IANA time zone{_hint(name)}"
    return ""


def _hint(name: str) -> str:
    zones = sorted(available_timezones())
    cities = {zone.rsplit("/", 1)[-1].lower(): zone for zone in reversed(zones) if "/" in zone}
    word = name.strip().replace(" ", "_")
    meant = cities.get(word.lower())
    if meant is None:
        near = difflib.get_close_matches(word, zones, 1, cutoff=0.8)
        meant = near[0] if near else None
    return f"; did you mean {meant}?" if meant else "; write it as Europe/London"
