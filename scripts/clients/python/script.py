"""Does with aetcd what programs do with it, and prints one line per thing done.

Usage: script.py HOST:PORT. Against two servers that behave the same, the output is the same, line
by line: what a server chooses (lease ids, terms) is never printed.
"""

import asyncio
import sys

import aetcd

# How long all of it may take.
TIMEOUT_SECONDS = 60


def say(section, text):
    print(f'{section}: {text}', flush=True)


def shown(kv):
    """Every number of a key that two servers must agree on."""
    return (f'{kv.key.decode()}={kv.value.decode()} create {kv.create_revision} '
            f'mod {kv.mod_revision} version {kv.version} leased {kv.lease != 0}')


async def refused(section, what, call):
    """Prints the error that a call ends with."""
    try:
        await call
        say(section, f'{what}: no error')
    except aetcd.exceptions.ClientError as error:
        say(section, f'{what}: {type(error).__name__} {error}')


async def events(section, what, watch, wanted):
    """Prints the events of a watch until so many have come, and ends it."""
    async for event in watch:
        before = f' before {event.prev_kv.value.decode()}' if event.prev_kv else ''
        say(section, f'{what}: {event.kind} {event.kv.key.decode()}={event.kv.value.decode()} '
                     f'mod {event.kv.mod_revision} version {event.kv.version}{before}')
        wanted -= 1
        if wanted == 0:
            break
    await watch.cancel()


async def kv(client):
    for key, value in ((b'kv/a', b'1'), (b'kv/a', b'2'), (b'kv/b', b'1'), (b'kv/c', b'0')):
        put = await client.put(key, value, prev_kv=True)
        say('kv', f'put {key.decode()}: revision {put.header.revision} before {put.prev_kv.value}')
    say('kv', f'get: {shown(await client.get(b"kv/a"))}')
    say('kv', f'serializable: {shown(await client.get(b"kv/a", serializable=True))}')
    say('kv', f'none: {await client.get(b"kv/none")}')
    for order, target in (('ascend', 'key'), ('descend', 'key'), ('ascend', 'value'),
                          ('descend', 'mod'), ('ascend', 'create'), ('descend', 'version')):
        found = await client.get_prefix(b'kv/', sort_order=order, sort_target=target)
        keys = ' '.join(kv.key.decode() for kv in found)
        say('kv', f'by {target}, {order}: {keys}; count {found.count} more {found.more}')
    found = await client.get_prefix(b'kv/', keys_only=True)
    say('kv', f'keys only: {[shown(kv) for kv in found]}')
    found = await client.get_range(b'kv/a', b'kv/c')
    say('kv', f'range: {[shown(kv) for kv in found]}')
    found = await client.get_range(b'kv/c', b'kv/a')
    say('kv', f'inverted: {len(found)}')
    found = await client.get_all()
    say('kv', f'all: {len(found)} at revision {found.header.revision}')
    say('kv', f'replace: {await client.replace(b"kv/a", b"2", b"3")}')
    say('kv', f'replace again: {await client.replace(b"kv/a", b"2", b"3")}')
    await refused('kv', 'empty key', client.put(b'', b'1'))
    await refused('kv', 'unknown lease', client.put(b'kv/a', b'1', lease=12345))
    deleted = await client.delete(b'kv/a', prev_kv=True)
    say('kv', f'delete: {deleted.deleted} at revision {deleted.header.revision}, '
              f'{shown(deleted.prev_kv)}')
    say('kv', f'delete none: {await client.delete(b"kv/a")}')
    deleted = await client.delete_range(b'kv/a', b'kv/c', prev_kv=True)
    say('kv', f'delete range: {deleted.deleted} {[kv.key.decode() for kv in deleted]}')
    deleted = await client.delete_prefix(b'kv/')
    say('kv', f'delete prefix: {deleted.deleted}')


async def txn(client):
    t = client.transactions
    await client.put(b'txn/a', b'1')
    compares = {
        'value': t.value(b'txn/a') == b'1',
        'not the value': t.value(b'txn/a') != b'1',
        'greater value': t.value(b'txn/a') > b'0',
        'version': t.version(b'txn/a') == 1,
        'lower version': t.version(b'txn/a') < 2,
        'missing': t.create(b'txn/none') == 0,
        'mod': t.mod(b'txn/a') > 0,
        'value of a missing key': t.value(b'txn/none') != b'1',
        'a range': t.version(b'txn/', range_end=b'txn0') == 1,
    }
    for name, compare in compares.items():
        succeeded, _ = await client.transaction(
            compare=[compare], success=[], failure=[])
        say('txn', f'{name}: {succeeded}')
    succeeded, responses = await client.transaction(
        compare=[t.value(b'txn/a') == b'1'],
        success=[t.put(b'txn/b', b'2'), t.get(b'txn/b'), t.delete(b'txn/a'),
                 t.get(b'txn/', range_end=b'txn0')],
        failure=[t.get(b'txn/a')])
    say('txn', f'then: {succeeded}, {len(responses)} responses')
    for found in (responses[1], responses[3]):
        say('txn', f'  {[shown(kv) for _, kv in found]}')
    succeeded, responses = await client.transaction(
        compare=[t.value(b'txn/a') == b'1'],
        success=[t.put(b'txn/b', b'3')],
        failure=[t.txn(compare=[t.version(b'txn/b') == 1], success=[t.get(b'txn/b')], failure=[])])
    say('txn', f'else, nested: {succeeded}, {responses[0].response_txn.succeeded}')
    await refused('txn', 'the same key twice', client.transaction(
        compare=[], success=[t.put(b'txn/b', b'1'), t.put(b'txn/b', b'2')], failure=[]))
    await refused('txn', 'too many operations', client.transaction(
        compare=[], success=[t.get(b'txn/b')] * 129, failure=[]))


async def watch(client):
    first = (await client.put(b'watch/a', b'1')).header.revision
    await client.put(b'watch/a', b'2')
    await client.put(b'watch/b', b'1')
    await client.delete(b'watch/a')
    await events('watch', 'past', await client.watch(b'watch/a', start_revision=first), 3)
    await events('watch', 'prefix', await client.watch_prefix(
        b'watch/', start_revision=first, prev_kv=True), 4)
    await events('watch', 'puts', await client.watch_prefix(
        b'watch/', start_revision=first, kind=aetcd.EventKind.PUT), 3)
    await events('watch', 'deletes', await client.watch_prefix(
        b'watch/', start_revision=first, kind=aetcd.EventKind.DELETE), 1)
    await events('watch', 'from key', await client.watch(
        b'watch/b', range_end=b'\0', start_revision=first), 1)
    event = await client.watch_once(b'watch/a', start_revision=first)
    say('watch', f'once: {event.kind} {event.kv.value.decode()}')
    live = await client.watch_prefix(b'watch/', prev_kv=True)
    other = await client.watch(b'watch/b', fragment=True)
    await client.put(b'watch/b', b'2')
    await client.put(b'watch/c', b'1')
    await client.delete(b'watch/b')
    await events('watch', 'live', live, 3)
    await events('watch', 'beside it', other, 2)
    last = (await client.put(b'watch/a', b'3')).header.revision
    await client.compact(last)
    compacted = await client.watch(b'watch/a', start_revision=first)
    await refused('watch', 'compacted', events('watch', 'compacted', compacted, 1))


async def lease(client):
    granted = await client.lease(600, lease_id=77)
    say('lease', f'granted: id {granted.id} ttl {granted.ttl}')
    await client.put(b'lease/a', b'1', lease=granted)
    say('lease', f'attached: {shown(await client.get(b"lease/a"))}')
    say('lease', f'keys: {list(await granted.keys())}')
    say('lease', f'granted ttl: {await granted.granted_ttl()}, '
                 f'remains: {await granted.remaining_ttl() > 0}')
    say('lease', f'refreshed: {(await granted.refresh()).TTL}')
    await refused('lease', 'the same id', client.lease(600, lease_id=77))
    await refused('lease', 'too long', client.lease(9_000_000_001))
    await granted.revoke()
    say('lease', f'revoked: {await client.get(b"lease/a")}')
    await refused('lease', 'revoked again', granted.revoke())
    say('lease', f'refreshed when gone: {(await granted.refresh()).TTL}')
    say('lease', f'info when gone: {await granted.remaining_ttl()}')
    short = await client.lease(1)
    put = await client.put(b'lease/short', b'1', lease=short)
    await events('lease', 'runs out', await client.watch(
        b'lease/short', start_revision=put.header.revision), 2)


async def lock(client):
    first, second = client.lock(b'lock/a', ttl=60), client.lock(b'lock/a', ttl=60)
    say('lock', f'first: {await first.acquire()}')
    say('lock', f'is acquired: {await first.is_acquired()} {await second.is_acquired()}')
    say('lock', f'second: {await second.acquire(timeout=0)}')
    say('lock', f'refreshed: {(await first.refresh()).TTL}')
    queue = asyncio.ensure_future(second.acquire())
    say('lock', f'released: {await first.release()}')
    say('lock', f'second: {await queue}')
    say('lock', f'released: {await first.release()} {await second.release()}')
    async with client.lock(b'lock/b') as held:
        say('lock', f'held: {await held.is_acquired()}')
    say('lock', f'let go: {await client.get(b"lock/b")}')


async def cluster(client):
    async for member in client.members():
        say('cluster', f'member {member.name} id {member.id:x} '
                       f'{len(member.peer_urls)} {len(member.client_urls)}')
    status = await client.status()
    say('cluster', f'leader: {status.leader.name}, size {status.db_size > 0}')
    say('cluster', f'alarms: {[alarm async for alarm in list_alarms(client)]}')


async def list_alarms(client):
    # aetcd wraps its own generator as if it were a coroutine: this is what its users do.
    async for alarm in client.list_alarms():
        yield str(alarm)


async def compact(client):
    for value in (b'1', b'2', b'3'):
        last = (await client.put(b'compact/a', value)).header.revision
    await client.compact(last - 1)
    await client.compact(last, physical=True)
    say('compact', f'done: {shown(await client.get(b"compact/a"))}')
    await refused('compact', 'again', client.compact(last))
    await refused('compact', 'the future', client.compact(last + 1000))


async def main(address):
    host, port = address.rsplit(':', 1)
    async with aetcd.Client(host=host, port=int(port)) as client:
        for section in (kv, txn, watch, lease, lock, cluster, compact):
            await section(client)


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit('usage: script.py HOST:PORT')
    asyncio.run(asyncio.wait_for(main(sys.argv[1]), TIMEOUT_SECONDS))
