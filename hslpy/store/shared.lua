-- Values under locks that processes share: one hash a key. `v` is the value, `o` who holds the lock, `u` until when
-- (milliseconds of the server's time), `q` who waits for it, in the order of coming, each with the time of its latest asking.
-- KEYS: the hash. ARGV: what to do, whose token, then what that takes. Only who owns the lock changes the value.
local key, verb, token = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- A key lives on as long as its lock; one that holds a value has a longer time of its own.
local function live(ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end

local function waiting(without)
  local rest = {}
  for who, asked in string.gmatch(redis.call('HGET', key, 'q') or '', '(%S+) (%d+);') do
    if who ~= without then rest[#rest + 1] = {who, tonumber(asked)} end
  end
  return rest
end

local function wait(list)
  if #list == 0 then return redis.call('HDEL', key, 'q') end
  local parts = {}
  for i, one in ipairs(list) do parts[i] = string.format('%s %d;', one[1], one[2]) end
  redis.call('HSET', key, 'q', table.concat(parts))
end

-- lock <lock ms> <stale ms>: gives {1, value or nil} or {0, how many are before}. Who has not asked for `stale ms` is gone.
if verb == 'lock' then
  local lock_ms, stale_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
  local held = redis.call('HMGET', key, 'o', 'u', 'q')
  local free = not held[1] or held[1] == token or tonumber(held[2]) <= now
  local before, list = 0, {}
  if held[3] then
    local found = false
    for _, one in ipairs(waiting(nil)) do
      if one[1] == token then
        one[2], found = now, true
        list[#list + 1] = one
      elseif one[2] + stale_ms > now then
        if not found then before = before + 1 end
        list[#list + 1] = one
      end
    end
    if not found then list[#list + 1] = {token, now} end
  else
    list[1] = {token, now}
  end
  if free and before == 0 then
    if held[3] then
      table.remove(list, 1)
      wait(list)
    end
    redis.call('HSET', key, 'o', token, 'u', string.format('%d', now + lock_ms))
    live(2 * lock_ms)
    return {1, redis.call('HGET', key, 'v')}
  end
  wait(list)
  live(2 * lock_ms)
  return {0, before}
end

local owns = redis.call('HGET', key, 'o') == token

-- renew <lock ms>: gives 1, or 0 where the lock is another's by now.
if verb == 'renew' then
  if not owns then return 0 end
  redis.call('HSET', key, 'u', string.format('%d', now + tonumber(ARGV[3])))
  live(2 * tonumber(ARGV[3]))
  return 1
end

-- keep | drop | put <value> <kept ms>: what becomes of the value as the lock is given back. Gives as `renew` does.
if not owns then
  wait(waiting(token))
  return 0
end
redis.call('HDEL', key, 'o', 'u')
if verb == 'drop' then redis.call('HDEL', key, 'v') end
if verb == 'put' then
  redis.call('HSET', key, 'v', ARGV[3])
  redis.call('PEXPIRE', key, ARGV[4])
end
return 1
