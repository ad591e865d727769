"""Earning: members, activities, earning rules and the points ledger.

Owns: members and their identifiers, activities and their reversals, the documents of earning rules,
the ledger (wallets, lots, entries, holds), referrals, and households.

Follows: tiers (MembershipChanged), kept as a timeline: level, effective from.
Publishes: MemberEnrolled, ActivityRecorded, ActivityReversed, PointsCredited, HoldChanged,
ReferralChanged, HouseholdMembershipChanged and more (`events.proto`).
Calls: nobody.

Invariants
- Every entry's changes sum to zero; entries are never changed or removed (triggers refuse it).
- A wallet is the sum of its entries; their sequence is 1..n, each is hashed over the one before.
- No balance is below zero at any entry; what cannot be taken is debt, repaid by what comes next.
- What remains in a wallet's lots is what is available; what its open holds took is what is held.
- A lot's amount is what remains of it plus what its uses took.
- An activity earns once per idempotency key and once per receipt; returns in any split take back
  the same total, by the record of the day and never by later rules.
- The shares of an activity's lines add up to its points.
"""
