-- What bench/net serves with Tarantool:  tarantool net_tarantool.lua KEYS ADDRESS DIRECTORY
--
-- A space with the records of a key file (bench/engine_keys.h), a hash index that point lookups
-- take and one in order for selects, and mget, which reads many keys in one call. It listens when
-- all of that is loaded.
--
-- mget is the fastest form that was found, measured with 5 million keys of 8 random bytes, 100 a
-- call and 16 calls in flight, in thousands of keys a second:
--
--    700-800  keys in an array; index:get(key)[2] of each into a table
--     90-150  the same with index:get(key):unpack(): it is never compiled
--    710      the same with box_index_get by FFI, values decoded into a table
--   1020-1300 keys in an array, values copied by FFI into one string
--   1630      keys in one string, values copied into one string: this one
--    790      the same with the index in order (TREE) instead of the hash index
--   1690      keys in one string, values copied into one tuple, which only internal calls can give
--   1700      a stored function in C (box_index_get in a loop, its values as one tuple)
--
-- What stays is waiting for memory: more can only be saved by another kind of index.
local ffi = require('ffi')
local fio = require('fio')

local SPACE = 512
local HASH = 0

ffi.cdef[[
int box_index_get(uint32_t space_id, uint32_t index_id, const char *key, const char *key_end,
                  box_tuple_t **result);
const char *box_tuple_field(const box_tuple_t *tuple, uint32_t field_id);
]]
local C = ffi.C
local bytes = ffi.typeof('const unsigned char *')

local function load(space, path)
    local file = assert(fio.open(path, {'O_RDONLY'}))
    local rest = ''
    while true do
        local part = file:read(1024 * 1024)
        if #part == 0 then
            break
        end
        rest = rest .. part
        local p, at = ffi.cast(bytes, rest), 0
        box.begin()
        while #rest - at >= 4 do
            local len = p[at] + 256 * p[at + 1]
            if #rest - at < 12 + len then
                break
            end
            local value = ffi.cast('uint64_t *', p + at + 4 + len)[0]
            space:replace{ffi.string(p + at + 4, len), value}
            at = at + 12 + len
        end
        box.commit()
        rest = rest:sub(at + 1)
    end
    file:close()
end

local key = ffi.new('unsigned char[600]')
local found = ffi.new('box_tuple_t *[1]')
local out = ffi.new('unsigned char[9 * 1000]')
key[0] = 0x91

-- keys: MessagePack strs back to back, at most 1000. Returns the values, back to back as well.
function mget(keys)
    local p, at, used = ffi.cast(bytes, keys), 0, 0
    while at < #keys do
        local head, len = p[at], 1
        if head < 0xc0 then
            len = 1 + head - 0xa0
        elseif head == 0xd9 then
            len = 2 + p[at + 1]
        else
            len = 3 + 256 * p[at + 1] + p[at + 2]
        end
        ffi.copy(key + 1, p + at, len)
        at = at + len
        if C.box_index_get(SPACE, HASH, key, key + 1 + len, found) ~= 0 or found[0] == nil then
            error('no such key')
        end
        local value, size = ffi.cast(bytes, C.box_tuple_field(found[0], 1)), 1
        if value[0] >= 0xcc then
            size = 1 + bit.lshift(1, value[0] - 0xcc)
        end
        ffi.copy(out + used, value, size)
        used = used + size
    end
    return ffi.string(out, used)
end

box.cfg{
    work_dir = arg[3],
    memtx_memory = 3 * 1024 ^ 3,
    wal_mode = 'none',
    checkpoint_interval = 0,
    log_level = 2,
}
local space = box.schema.space.create('entries', {id = SPACE})
space:create_index('hash', {type = 'HASH', parts = {{1, 'string'}}})
space:create_index('order', {type = 'TREE', parts = {{1, 'string'}}})
load(space, arg[1])
collectgarbage()
box.schema.user.grant('guest', 'read,execute', 'universe')
box.cfg{listen = arg[2]}
