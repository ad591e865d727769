"""Tiers: which level each member of a program has.

Owns: ladders and their versions, the net spend of each member by day, memberships and every
decision on them.

Invariants, which `VerifyTiers` recomputes from the feed of the earning service:
- the net spend of a day is what qualified on it, less what of that was returned since;
- every member has a level on every ladder; its decisions are numbered 1, 2, 3 without gaps, never
  become effective before an earlier one, and each differs from the one before;
- of two decisions effective from the same instant the later stands;
- what qualified is stored with the activity, so a changed ladder never changes a return.

A member who joined before a ladder was applied gets its lowest level from the instant of that
apply on: from a job, or from its next activity when that is sooner; both write the same.

Events in: MemberEnrolled, ActivityRecorded, ActivityReversed of earning.
Events out: MembershipChanged.
"""
