"""Lua scripts of the index: constant texts, so that a server keeps each of them once.

Keys are `z m c d n` of `index.py`, or the first of them. Positions, ranks and scores are below
2^53, where Lua's numbers are exact.
"""

APPLY = """
-- ARGV: epoch, partition, expected cursor, new cursor, dense; then member key, instant, sort score.
-- Gives the cursor after it: not the new one when the expected one was wrong.
local z, m, c, d, n = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if redis.call('HGET', c, 'e') ~= ARGV[1] then
  redis.call('UNLINK', z, m, c, d, n)
  redis.call('HSET', c, 'e', ARGV[1])
end
local field = 'p' .. ARGV[2]
local cursor = redis.call('HGET', c, field) or '0'
if cursor ~= ARGV[3] then return tonumber(cursor) end
local dense = ARGV[5] == '1'
for i = 6, #ARGV, 3 do
  local key, time, score = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local held = redis.call('HGET', m, key)
  if held ~= time .. score then
    if held then
      redis.call('ZREM', z, string.sub(held, 1, 8) .. key)
      if dense then
        local gone = string.sub(held, 9)
        if redis.call('HINCRBY', n, gone, -1) == 0 then
          redis.call('HDEL', n, gone)
          redis.call('ZREM', d, gone)
        end
      end
    end
    redis.call('ZADD', z, score, time .. key)
    redis.call('HSET', m, key, time .. score)
    if dense and redis.call('HINCRBY', n, score, 1) == 1 then
      redis.call('ZADD', d, score, score)
    end
  end
end
redis.call('HSET', c, field, ARGV[4])
return tonumber(ARGV[4])
"""

READY = """
-- KEYS: c. ARGV: epoch; then partition, position. Gives 1 when the index is ready.
local c = KEYS[1]
if redis.call('HGET', c, 'e') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 2 do
  local cursor = redis.call('HGET', c, 'p' .. ARGV[i]) or '0'
  if tonumber(cursor) < tonumber(ARGV[i + 1]) then return 0 end
end
redis.call('HSET', c, 'r', ARGV[1])
return 1
"""

_RANK = """
local z, m, c, d = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('HGET', c, 'r') ~= ARGV[1] then return false end
local ties = ARGV[2]
local function rank(place, score)
  if ties == 's' then return place + 1 end
  if ties == 'd' then return redis.call('ZCOUNT', d, '-inf', '(' .. score) + 1 end
  return redis.call('ZCOUNT', z, '-inf', '(' .. score) + 1
end
"""

PAGE = (
    "-- ARGV: epoch, ties, offset, count. Gives false, or total, first rank, number of rows, rows."
    + _RANK
    + """
local first, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local rows = redis.call('ZRANGE', z, first, first + count - 1, 'WITHSCORES')
local out = {''}
for i = 1, #rows, 2 do
  out[#out + 1] = rows[i] .. struct.pack('>d', tonumber(rows[i + 1]))
end
local first_rank = 0
if #rows > 0 then first_rank = rank(first, rows[2]) end
out[1] = struct.pack('>ddd', redis.call('ZCARD', z), first_rank, #rows / 2)
return table.concat(out)
"""
)

STANDING = (
    """
-- ARGV: epoch, ties; then member key, neighbours. Gives false, or total, then for each member
-- its place (-1: none), place and rank of the first row, number of rows, rows."""
    + _RANK
    + """
local out = {struct.pack('>d', redis.call('ZCARD', z))}
for i = 3, #ARGV, 2 do
  local key, around = ARGV[i], tonumber(ARGV[i + 1])
  local held = redis.call('HGET', m, key)
  if not held then
    out[#out + 1] = struct.pack('>dddd', -1, 0, 0, 0)
  else
    local element, score = string.sub(held, 1, 8) .. key, string.sub(held, 9)
    local place = redis.call('ZRANK', z, element)
    if around == 0 then
      out[#out + 1] = struct.pack('>dddd', place, place, rank(place, score), 1)
      out[#out + 1] = element .. struct.pack('>d', tonumber(score))
    else
      local first = math.max(0, place - around)
      local rows = redis.call('ZRANGE', z, first, place + around, 'WITHSCORES')
      out[#out + 1] = struct.pack('>dddd', place, first, rank(first, rows[2]), #rows / 2)
      for j = 1, #rows, 2 do
        out[#out + 1] = rows[j] .. struct.pack('>d', tonumber(rows[j + 1]))
      end
    end
  end
end
return table.concat(out)
"""
)
