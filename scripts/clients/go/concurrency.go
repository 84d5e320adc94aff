package main

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// open starts a session of a client of its own.
func (s *script) open(opts ...concurrency.SessionOption) *concurrency.Session {
	session, err := concurrency.NewSession(s.connect(), opts...)
	s.must(err)
	return session
}

// shut ends a session and its client.
func (s *script) shut(session *concurrency.Session) {
	s.must(session.Close())
	s.must(session.Client().Close())
}

// session lives as long as its lease.
func session(s *script) {
	one := s.open(concurrency.WithTTL(300))
	ttl, err := s.c.TimeToLive(s.ctx, one.Lease())
	s.must(err)
	s.say("granted %d", ttl.GrantedTTL)
	_, err = s.c.Put(s.ctx, "session/a", "1", clientv3.WithLease(one.Lease()))
	s.must(err)

	other := s.open(concurrency.WithLease(one.Lease()))
	s.say("a session on the lease of another: same %t", other.Lease() == one.Lease())
	other.Orphan()
	r, err := s.c.Get(s.ctx, "session/a")
	s.get("an orphan leaves its lease", r, err)

	s.shut(one)
	<-one.Done()
	s.say("done when closed")
	r, err = s.c.Get(s.ctx, "session/a")
	s.get("its key is gone", r, err)

	// A session learns that its lease is gone at its next keep-alive: after a third of its time.
	short := s.open(concurrency.WithTTL(3))
	_, err = s.c.Revoke(s.ctx, short.Lease())
	s.must(err)
	<-short.Done()
	s.say("done when its lease is revoked")
	s.say("close: %v", short.Close())
}

// mutex is held by one session at a time, in the order of their coming.
func mutex(s *script) {
	one, two := s.open(), s.open()
	a, b := concurrency.NewMutex(one, "mutex/m"), concurrency.NewMutex(two, "mutex/m")
	s.must(a.Lock(s.ctx))
	s.say("a has it at revision %d", a.Header().Revision)
	s.say("a again: %v", a.Lock(s.ctx))
	s.say("b tries: %v", b.TryLock(s.ctx))
	owner, err := s.c.Txn(s.ctx).If(a.IsOwner()).Commit()
	s.must(err)
	s.say("a is owner: %t", owner.Succeeded)

	// b waits in line: its key is there before a lets go.
	queue := s.c.Watch(s.ctx, "mutex/m/", clientv3.WithPrefix(), clientv3.WithFilterDelete(),
		clientv3.WithRev(owner.Header.Revision+1))
	locked := make(chan error)
	go func() { locked <- b.Lock(s.ctx) }()
	<-queue
	r, err := s.c.Get(s.ctx, "mutex/m/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	s.get("in line", r, err)
	s.must(a.Unlock(s.ctx))
	s.must(<-locked)
	s.say("b has it at revision %d", b.Header().Revision)
	s.say("a lets go again: %v", a.Unlock(s.ctx))

	// The end of a session lets go of what it holds.
	go func() { locked <- a.Lock(s.ctx) }()
	<-queue
	s.shut(two)
	s.must(<-locked)
	s.say("a has it after b's session")
	s.shut(one)

	// Many, and a counter that would be wrong without the lock.
	var all sync.WaitGroup
	counter := 0
	for range 4 {
		all.Go(func() {
			session := s.open()
			defer s.shut(session)
			locker := concurrency.NewLocker(session, "mutex/many")
			for range 5 {
				locker.Lock()
				counter++
				locker.Unlock()
			}
		})
	}
	all.Wait()
	s.say("counted to %d", counter)
}

// election has one leader, and observers who hear of each.
func election(s *script) {
	one, two := s.open(), s.open()
	a, b := concurrency.NewElection(one, "election/e"), concurrency.NewElection(two, "election/e")
	_, err := a.Leader(s.ctx)
	s.say("before: %v", err)
	s.say("proclaim as nobody: %v", a.Proclaim(s.ctx, "x"))
	observed, stop := context.WithCancel(s.ctx)
	leaders := concurrency.NewElection(one, "election/e").Observe(observed)
	hear := func() {
		r := <-leaders
		s.say("observed: %q at revision %d", r.Kvs[0].Value, r.Kvs[0].ModRevision)
	}
	s.must(a.Campaign(s.ctx, "a"))
	s.say("a leads at revision %d", a.Rev())
	hear()
	r, err := b.Leader(s.ctx)
	s.must(err)
	s.say("the leader: %q, its key is a's: %t", r.Kvs[0].Value, string(r.Kvs[0].Key) == a.Key())
	s.must(a.Proclaim(s.ctx, "a2"))
	hear()

	queue := s.c.Watch(s.ctx, "election/e/", clientv3.WithPrefix(), clientv3.WithFilterDelete(),
		clientv3.WithRev(a.Header().Revision+1))
	elected := make(chan error)
	go func() { elected <- b.Campaign(s.ctx, "b") }()
	<-queue
	resumed := concurrency.ResumeElection(one, "election/e/", a.Key(), a.Rev())
	s.must(resumed.Proclaim(s.ctx, "a3"))
	hear()
	s.must(a.Resign(s.ctx))
	s.must(<-elected)
	s.say("b leads at revision %d", b.Rev())
	hear()
	s.say("proclaim after resigning: %v", a.Proclaim(s.ctx, "x"))
	stop()
	for range leaders {
	}
	s.shut(two)
	_, err = a.Leader(s.ctx)
	s.say("after b's session: %v", err)
	s.shut(one)
}

// stm moves money between accounts, and none is lost.
func stm(s *script) {
	for _, account := range []string{"stm/a", "stm/b", "stm/c"} {
		_, err := s.c.Put(s.ctx, account, "100")
		s.must(err)
	}
	levels := []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable,
		concurrency.RepeatableReads, concurrency.ReadCommitted}
	for i, level := range levels {
		r, err := concurrency.NewSTM(s.c, func(stm concurrency.STM) error {
			a, b := stm.Get("stm/a"), stm.Get("stm/b")
			stm.Put("stm/a", b)
			stm.Put("stm/b", a)
			stm.Put("stm/new", a+b)
			stm.Del("stm/c")
			return nil
		}, concurrency.WithIsolation(level), concurrency.WithPrefetch("stm/a"))
		s.must(err)
		s.say("isolation %d: succeeded %t revision %d", i, r.Succeeded, r.Header.Revision)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			client := s.connect()
			defer client.Close()
			for range 5 {
				_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
					stm.Put("stm/count", stm.Get("stm/count")+"x")
					return nil
				})
				s.must(err)
			}
		})
	}
	all.Wait()
	r, err := s.c.Get(s.ctx, "stm/", clientv3.WithPrefix())
	s.get("after all", r, err)
}
