// Does with etcd3 what programs do with it, and prints one line per thing done.
//
// Usage: script.js HOST:PORT. Against two servers that behave the same, the output is the same, line
// by line: what a server chooses (lease ids, terms) is never printed.
'use strict';

const { once } = require('node:events');
const { Etcd3, isRecoverableError } = require('etcd3');

// How long all of it may take.
const TIMEOUT_MS = 60_000;

let section = '';

function say(text) {
  console.log(`${section}: ${text}`);
}

/** Every number of a key that two servers must agree on. */
function shown(kv) {
  return `${kv.key}=${kv.value} create ${kv.create_revision} mod ${kv.mod_revision} ` +
    `version ${kv.version} leased ${kv.lease !== '0'}`;
}

function range(what, response) {
  say(`${what}: revision ${response.header.revision} count ${response.count} more ${response.more}`);
  for (const kv of response.kvs) {
    say(`  ${shown(kv)}`);
  }
}

/** Prints the error that a call ends with. */
async function refused(what, call) {
  try {
    await call;
    say(`${what}: no error`);
  } catch (error) {
    say(`${what}: ${error.constructor.name} ${error.message} recoverable ${isRecoverableError(error)}`);
  }
}

/** Prints the events of a watch until so many have come, and ends it. */
async function events(what, watcher, wanted) {
  await new Promise((resolve, reject) => {
    watcher.on('error', reject);
    watcher.on('data', response => {
      for (const event of response.events) {
        const before = event.prev_kv ? ` before ${event.prev_kv.value}` : '';
        say(`${what}: ${event.type} ${event.kv.key}=${event.kv.value} mod ${event.kv.mod_revision} ` +
          `version ${event.kv.version}${before}`);
        wanted -= 1;
        if (wanted === 0) {
          resolve();
        }
      }
    });
  });
  await watcher.cancel();
}

async function kv(client) {
  for (const [key, value] of [['kv/a', '1'], ['kv/a', '2'], ['kv/b', '10'], ['kv/c', '0']]) {
    const put = await client.put(key).value(value);
    say(`put ${key}: revision ${put.header.revision}`);
  }
  const previous = await client.put('kv/b').value(11).getPrevious();
  say(`previous: ${previous.value} version ${previous.version}`);
  say(`string: ${await client.get('kv/a').string()} number: ${await client.get('kv/b').number()}`);
  say(`exists: ${await client.get('kv/a').exists()} ${await client.get('kv/none').exists()}`);
  range('one', await client.get('kv/a').exec());
  range('past', await client.get('kv/a').revision(2).exec());
  range('serializable', await client.get('kv/a').serializable(true).exec());
  range('prefix', await client.getAll().prefix('kv/').exec());
  range('limit', await client.getAll().prefix('kv/').limit(2).exec());
  range('range', await client.getAll().inRange({ start: 'kv/a', end: 'kv/c' }).exec());
  range('min mod', await client.getAll().prefix('kv/').minModRevision(4).exec());
  range('max create', await client.getAll().prefix('kv/').maxCreateRevision(4).exec());
  for (const target of ['Key', 'Version', 'Create', 'Mod', 'Value']) {
    for (const order of ['Ascend', 'Descend']) {
      const keys = await client.getAll().prefix('kv/').sort(target, order).keys();
      say(`by ${target}, ${order}: ${keys.join(' ')}`);
    }
  }
  say(`count: ${await client.getAll().prefix('kv/').count()}`);
  say(`all: ${JSON.stringify(await client.getAll().prefix('kv/').strings())}`);
  const touched = await client.put('kv/a').touch();
  say(`touch: revision ${touched.header.revision}, ${await client.get('kv/a')}`);
  await refused('touch none', client.put('kv/none').touch().then());
  await refused('unknown lease', client.put('kv/a').value('1').lease(12345).exec());
  await refused('future', client.get('kv/a').revision(1000).exec());
  await refused('empty key', client.put('').value('1').exec());
  const deleted = await client.delete().key('kv/a').getPrevious();
  say(`delete: ${deleted.map(shown)}`);
  say(`delete range: ${(await client.delete().inRange({ start: 'kv/a', end: 'kv/c' })).deleted}`);
  say(`delete prefix: ${(await client.delete().prefix('kv/')).deleted}`);
  say(`delete none: ${(await client.delete().key('kv/none')).deleted}`);
}

async function txn(client) {
  await client.put('txn/a').value('1');
  const compares = [
    ['Value', '==', '1'], ['Value', '!=', '1'], ['Value', '>', '0'], ['Version', '==', 1],
    ['Version', '<', 1], ['Create', '>', 0], ['Mod', '==', 0], ['Lease', '==', 0],
  ];
  for (const [column, comparison, value] of compares) {
    const result = await client.if('txn/a', column, comparison, value).commit();
    say(`${column} ${comparison} ${value}: ${result.succeeded}`);
  }
  const then = await client.if('txn/a', 'Value', '==', '1').and('txn/none', 'Create', '==', 0)
    .then(client.put('txn/b').value('2'), client.get('txn/b'), client.delete().key('txn/a'))
    .else(client.get('txn/a')).commit();
  say(`then: ${then.succeeded} ${then.responses.map(response => response.response).join(' ')}`);
  say(`  ${then.responses[1].response_range.kvs.map(shown)}`);
  const other = await client.if('txn/a', 'Value', '==', '1').then(client.put('txn/b').value('3'))
    .else(client.get('txn/b')).commit();
  say(`else: ${other.succeeded} ${other.responses[0].response_range.kvs.map(shown)}`);
  await refused('the same key twice', client.if('txn/a', 'Create', '==', 0)
    .then(client.put('txn/b').value('1'), client.put('txn/b').value('2')).commit());
  await refused('too many operations', client.if('txn/a', 'Create', '==', 0)
    .then(...Array.from({ length: 129 }, () => client.get('txn/b'))).commit());
}

async function stm(client) {
  await client.put('stm/a').value('100');
  await client.put('stm/b').value('100');
  // Serializable: at etcd3's default it finds a conflict whenever two keys read were not written by
  // one transaction, on any server.
  const move = () => client.stm({ retries: 100, isolation: 1 }).transact(async tx => {
    const a = await tx.get('stm/a').number();
    const b = await tx.get('stm/b').number();
    await tx.put('stm/a').value(a - 10);
    await tx.put('stm/b').value(b + 10);
  });
  // All at once: they conflict, and those that lose try again.
  await Promise.all([move(), move(), move()]);
  range('after three moves', await client.getAll().prefix('stm/').exec());
}

async function watch(client) {
  const first = (await client.put('watch/a').value('1')).header.revision;
  await client.put('watch/a').value('2');
  await client.put('watch/b').value('1');
  await client.delete().key('watch/a');
  const from = () => client.watch().startRevision(first);
  await events('past', from().key('watch/a').watcher(), 3);
  await events('prefix', from().prefix('watch/').withPreviousKV().watcher(), 4);
  await events('puts', from().prefix('watch/').only('put').watcher(), 3);
  await events('deletes', from().prefix('watch/').only('delete').watcher(), 1);
  const live = await client.watch().prefix('watch/').withPreviousKV().create();
  const seen = events('live', live, 3);
  await client.put('watch/b').value('2');
  await client.put('watch/c').value('1');
  await client.delete().key('watch/b');
  await seen;
  const last = (await client.put('watch/a').value('3')).header.revision;
  await client.kv.compact({ revision: last });
  const compacted = from().key('watch/a').watcher();
  const [error] = await once(compacted, 'error');
  say(`compacted: ${error.constructor.name} ${error.message}`);
}

async function lease(client) {
  const granted = client.lease(600, { autoKeepAlive: false });
  await granted.put('lease/a').value('1');
  const id = await granted.grant();
  range('attached', await client.get('lease/a').exec());
  say(`keep-alive once: ttl ${(await granted.keepaliveOnce()).TTL}`);
  const look = async what => {
    const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
    say(`${what}: granted ${left.grantedTTL} remains ${Number(left.TTL) > 0} keys ${left.keys}`);
  };
  await look('time to live');
  await granted.revoke();
  await look('revoked');
  range('revoked', await client.get('lease/a').exec());
  await refused('revoked again', client.leaseClient.leaseRevoke({ ID: id }));
  await refused('too long', client.leaseClient.leaseGrant({ TTL: '9000000001' }));
  const kept = client.lease(60);
  await kept.grant();
  await once(kept, 'keepaliveEstablished');
  say('keep-alive: established');
  await kept.revoke();
  const short = client.lease(1, { autoKeepAlive: false });
  const put = await short.put('lease/short').value('1');
  const watcher = client.watch().key('lease/short').startRevision(put.header.revision).watcher();
  await events('runs out', watcher, 2);
}

async function lock(client) {
  const held = await client.lock('lock/a').acquire();
  say('held');
  await refused('held by another', client.lock('lock/a').acquire());
  await held.release();
  say(`result: ${await client.lock('lock/a').do(() => 'done inside')}`);
  say(`let go: ${await client.get('lock/a').exists()}`);
}

async function election(client) {
  const [one, two] = ['one', 'two'].map(() => client.election('e', 60));
  say(`before: ${await one.leader()}`);
  const observer = await one.observe();
  const changed = async () => say(`observed: ${(await once(observer, 'change'))[0]}`);
  let next = changed();
  const first = one.campaign('first');
  await first.wait();
  await next;
  say(`the leader: ${await two.leader()}`);
  next = changed();
  await first.proclaim('first, again');
  await next;
  const second = two.campaign('second');
  const elected = second.wait();
  await once(second, '_isWaiting');
  say(`still: ${await two.leader()}`);
  next = changed();
  await first.resign();
  await elected;
  await next;
  say(`then: ${await one.leader()}`);
  await observer.cancel();
  await second.resign();
  say(`after: ${await one.leader()}`);
}

async function namespace(client) {
  const inner = client.namespace('namespace/');
  await inner.put('a').value('1');
  await inner.put('b').value('2');
  say(`inside: ${await inner.getAll().keys()}`);
  say(`outside: ${await client.getAll().prefix('namespace/').keys()}`);
  const txn = await inner.if('a', 'Value', '==', '1').then(inner.put('c').value('3')).commit();
  say(`txn: ${txn.succeeded}`);
  say(`deleted: ${(await inner.delete().all()).deleted}`);
}

async function cluster(client) {
  const { members } = await client.cluster.memberList({});
  for (const member of members) {
    say(`member ${member.name} id ${member.ID} ${member.peerURLs.length} ${member.clientURLs.length}`);
  }
  const status = await client.maintenance.status();
  say(`leader: ${status.leader === members[0].ID}, size ${Number(status.dbSize) > 0}`);
  say(`alarms: ${(await client.maintenance.alarm({ action: 'Get' })).alarms.length}`);
}

async function main(address) {
  const client = new Etcd3({ hosts: `http://${address}` });
  for (const run of [kv, txn, stm, watch, lease, lock, election, namespace, cluster]) {
    section = run.name;
    await run(client);
  }
  client.close();
}

if (process.argv.length !== 3) {
  console.error('usage: script.js HOST:PORT');
  process.exit(2);
}
setTimeout(() => {
  console.log(`${section}: TIMED OUT`);
  process.exit(1);
}, TIMEOUT_MS).unref();
main(process.argv[2]).catch(error => {
  console.log(`${section}: UNEXPECTED ${error.stack}`);
  process.exit(1);
});
