-- Set the hub up, and make sure of its epoch: one step, run by every node on each connection that it will use.
-- KEYS: prefix.  ARGV: history size, history age (ms), idempotency window (ms), topics remembered, idempotency keys
-- remembered, epoch to end or ''.
-- Returns the epoch, the sequence that it began above, the sequence now, the epoch's age (ms), the time (ms),
-- and the run id of this process.
local hub, last = KEYS[1] .. ':hub', KEYS[1] .. ':last'
local state = redis.call('HMGET', hub, 'epoch', 'sequence', 'base', 'since', 'run', 'replid')
local epoch, sequence, base, since = state[1], state[2], state[3], state[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- A promotion or a restart gives a new replication id. So does the first replica of a master that never changed: then
-- the process is the same, and there is no id from before.
local replication = redis.call('INFO', 'replication')
local run = redis.call('INFO', 'server'):match('run_id:(%x+)')
local replid = replication:match('master_replid:(%x+)')
local unshifted = replication:match('master_replid2:(%x+)'):match('^0+$')
local same = replid == state[6] or (run == state[5] and unshifted)

if not epoch or not same or epoch == ARGV[6] then
    sequence = sequence or (redis.call('ZREVRANGE', last, 0, 0, 'WITHSCORES')[2] or '0')
    epoch = redis.sha1hex(table.concat({epoch or '', run, replid, now, sequence}, ' ')):sub(1, 12)
    base, since = sequence, now
end
redis.call('HSET', hub, 'epoch', epoch, 'sequence', sequence, 'base', base, 'since', since, 'run', run, 'replid', replid,
    'size', ARGV[1], 'age', ARGV[2], 'window', ARGV[3], 'topics', ARGV[4], 'keys', ARGV[5])
return {epoch, tonumber(base), tonumber(sequence), now - since, now, run}
