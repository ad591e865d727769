"""Gamification: challenges, badges and leaderboards.

Owns: the documents of challenges, badges and boards, members' progress, badges and scores, and the
index of scores in Redis.

Follows: earning (MemberEnrolled, ActivityRecorded; returns change nothing, *policy* `on_reversal`).
Publishes: ChallengeCompleted, BadgeAwarded, RewardPaid, RewardFailed, ScoreSubmitted.
Calls: earning.CreditPoints, as an intention written with the completion.

Invariants
- A challenge is completed at most once per member and period, and so is its badge awarded and its
  reward paid, whatever is redelivered or reordered (UNIQUE keys; the credit's request id is derived
  from program, challenge, member and period).
- Progress and scores are folds that do not depend on the order of the activities.
- Scores live in the database. Redis holds an index that is never an authority: it moves in one
  script with its cursor, says when it is not ready, and is rebuilt when it is lost.
- |score| < 2^53, so that a sorted set holds it exactly.
"""
