"""Whom gamification follows, and what their events mean here."""

from collections.abc import Mapping

from services.gamification.incoming import SOURCE, commands_of
from shared.followers import Translate

TRANSLATES: Mapping[str, Translate] = {SOURCE: commands_of}
