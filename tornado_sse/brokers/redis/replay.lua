-- Read what the topics have from a sequence on.
-- KEYS: prefix.  ARGV: the sequence, the topics.
-- Returns the epoch, the sequence now, the time (ms), and for each topic with news the sequence of its newest message
-- (kept or not) followed by the entries.
local prefix = KEYS[1]
local state = redis.call('HMGET', prefix .. ':hub', 'epoch', 'sequence', 'floor')
local clock = redis.call('TIME')
local from = tonumber(ARGV[1])
local results = {state[1] or '', tonumber(state[2] or 0), clock[1] * 1000 + math.floor(clock[2] / 1000)}
for index = 2, #ARGV do
    local newest = tonumber(redis.call('ZSCORE', prefix .. ':last', ARGV[index]) or state[3] or 0)
    if newest >= from then
        local found = {newest}
        for _, entry in ipairs(redis.call('XRANGE', prefix .. ':history:' .. ARGV[index], ARGV[1], '+')) do
            found[#found + 1] = entry[2][2]
        end
        results[#results + 1] = found
    end
end
return results
