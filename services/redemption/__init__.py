"""Redemption: hands out rewards for points.

Owns the catalogue, stock, redemptions and vouchers. Invariants: a shelf never holds less than
nothing; a member never has more slots of a reward than its limit; a redemption reaches exactly one
end, with its points captured and its stock taken, or neither; codes are stored hashed only.
Follows: earning (members), tiers (levels, for gates). Calls: earning (hold, capture, void, refund).
Publishes: RedemptionChanged, RewardChanged.
"""
