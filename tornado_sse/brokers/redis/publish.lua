-- Number, keep and publish messages in one step; with none, find out whether that would work.
-- KEYS: prefix.  ARGV, for each message: idempotency key or '', '1' to keep it or '0', body, how many topics, the topics.
-- Returns the epoch, the sequence now, and for each message its sequence, or the first position of a repeated key.
local prefix = KEYS[1]
local hub, last, keys = prefix .. ':hub', prefix .. ':last', prefix .. ':keys'
local state = redis.call('HMGET', hub, 'epoch', 'replid', 'size', 'age', 'window', 'topics', 'floor', 'keys')
local epoch, size, age, window, floor = state[1], state[3], tonumber(state[4]), state[5], state[7] or '0'
if not epoch or redis.call('INFO', 'replication'):match('master_replid:(%x+)') ~= state[2] then
    return redis.error_reply('STALE the hub is to be attached to anew')
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local sequence = redis.call('HINCRBY', hub, 'sequence', 0)

local function forget_aged(stream)
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    while oldest and tonumber(oldest[1]:match('%d+$')) <= now - age do
        redis.call('XDEL', stream, oldest[1])
        oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    end
end

local function publish(topic, body, kept)
    -- Each entry names the one before it, so that whoever reads the oldest one left knows what is gone.
    local previous = redis.call('ZSCORE', last, topic) or floor
    local entry = table.concat({epoch, sequence, now, previous, body}, ' ')
    if kept then
        local stream = prefix .. ':history:' .. topic
        forget_aged(stream)
        redis.call('XADD', stream, 'MAXLEN', size, sequence .. '-' .. now, 'm', entry)
        redis.call('PEXPIRE', stream, age)
        redis.call('ZADD', last, sequence, topic)
    end
    redis.call('PUBLISH', prefix .. ':live:' .. topic, entry)
end

local results, at = {epoch, 0}, 1
while ARGV[at] do
    local key, keep, body, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local seen = prefix .. ':key:' .. key
    local first = key ~= '' and redis.call('GET', seen)
    if not first then
        sequence = redis.call('HINCRBY', hub, 'sequence', 1)
        for topic = at + 4, at + 3 + count do
            publish(ARGV[topic], body, keep == '1')
        end
        if key ~= '' and window ~= '0' then
            redis.call('SET', seen, epoch .. '-' .. sequence, 'PX', window)
            redis.call('ZADD', keys, sequence, key)
            redis.call('PEXPIRE', keys, window)
        end
    end
    results[#results + 1] = first or sequence
    at = at + 4 + count
end
results[2] = sequence

local surplus = redis.call('ZCARD', keys) - tonumber(state[8])
if surplus > 0 then
    local popped = redis.call('ZPOPMIN', keys, surplus)
    for index = 1, #popped, 2 do
        redis.call('DEL', prefix .. ':key:' .. popped[index])
    end
end

surplus = redis.call('ZCARD', last) - tonumber(state[6])
if surplus > 0 then
    local popped = redis.call('ZPOPMIN', last, surplus)
    redis.call('HSET', hub, 'floor', popped[#popped])
end
return results
