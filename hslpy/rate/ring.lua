-- The arithmetic of ring.py inside Redis, for a batch of checks; tests compare both byte by byte.
-- KEYS: the counters. ARGV: microseconds to add to the server's time, then limit and bucket width (us) for each key.
-- Gives for each key: the hits counted when its limit is 0; else 1 (one hit more) or 0 (at the limit);
-- a string where this key alone failed, beginning with the reason.
local FORMS = {[2] = string.rep('I2', 25), [4] = string.rep('I4', 25), [8] = string.rep('I8', 25)}

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[1])

-- Slots of one byte, the usual ones, are read and written without `struct`: a fifth more checks a second (measured).
local function read(packed)
  local size = (#packed - 8) / 25
  if size == 1 then return {string.byte(packed, 9, 33)} end
  return FORMS[size] and {struct.unpack('<' .. FORMS[size], packed, 9)}
end

local function write(bucket, slots, largest)
  if largest < 256 then return struct.pack('<I8', bucket) .. string.char(unpack(slots, 1, 25)) end
  local size = largest < 65536 and 2 or largest < 4294967296 and 4 or 8
  return struct.pack('<I8' .. FORMS[size], bucket, unpack(slots, 1, 25))
end

local function check(key, limit, width)
  local packed = redis.pcall('GET', key)
  if type(packed) == 'table' then return packed.err end
  local bucket = math.floor(now / width)
  local slots -- newest first
  local sum, largest = 0, 0
  if packed then
    slots = read(packed)
    if not slots then return 'ERR not a rate counter' end
    local age = math.min(bucket - struct.unpack('<I8', packed), 25)
    if age > 0 then
      for i = 25, age + 1, -1 do slots[i] = slots[i - age] end
      for i = 1, age do slots[i] = 0 end
    end
    for i = 1, 25 do
      local hits = slots[i]
      sum = sum + hits
      if hits > largest then largest = hits end
    end
  else
    slots = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
  end
  if limit == 0 then return sum end
  if sum >= limit then return 0 end
  slots[1] = slots[1] + 1
  if slots[1] > largest then largest = slots[1] end
  local kept_ms = string.format('%d', math.ceil(width / 40) + 1)
  local done = redis.pcall('SET', key, write(bucket, slots, largest), 'PX', kept_ms)
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
