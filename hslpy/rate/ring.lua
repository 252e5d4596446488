-- The arithmetic of ring.py inside Redis, for a batch of checks; tests compare both byte by byte.
-- KEYS: the counters. ARGV: microseconds to add to the server's time, then limit and bucket width (us) for each key.
-- Gives for each key: the hits counted when its limit is 0; else 1 (one hit more) or 0 (at the limit);
-- a string where this key alone failed, beginning with the reason.
local FORMS = {}
for _, size in ipairs({1, 2, 4, 8}) do
  FORMS[size] = '<I8' .. string.rep('I' .. size, 25)
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[1])

local function check(key, limit, width)
  local packed = redis.pcall('GET', key)
  if type(packed) == 'table' then return packed.err end
  local bucket = math.floor(now / width)
  local ring, sum, largest
  if packed then
    local form = FORMS[(#packed - 8) / 25]
    if not form then return 'ERR not a rate counter' end
    ring = {struct.unpack(form, packed)} -- the newest bucket's number, then 25 slots, newest first
    local age = bucket - ring[1]
    if age >= 25 then
      for i = 2, 26 do ring[i] = 0 end
    elseif age > 0 then
      for i = 26, age + 2, -1 do ring[i] = ring[i - age] end
      for i = 2, age + 1 do ring[i] = 0 end
    end
    sum, largest = 0, 0
    for i = 2, 26 do
      local hits = ring[i]
      sum = sum + hits
      if hits > largest then largest = hits end
    end
  else
    ring = {bucket, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
    sum, largest = 0, 0
  end
  if limit == 0 then return sum end
  if sum >= limit then return 0 end
  ring[1] = bucket
  ring[2] = ring[2] + 1
  if ring[2] > largest then largest = ring[2] end
  local size = largest < 256 and 1 or largest < 65536 and 2 or largest < 4294967296 and 4 or 8
  local done = redis.pcall(
    'SET', key, struct.pack(FORMS[size], unpack(ring, 1, 26)), 'PX', string.format('%d', math.ceil(width / 40) + 1))
  if done.err then return done.err end
  return 1
end

local answers = {}
for i = 1, #KEYS do
  answers[i] = check(KEYS[i], tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1]))
end
-- The time goes last, for those who compare the answers with a log of their own.
answers[#KEYS + 1] = string.format('%d', now)
return answers
