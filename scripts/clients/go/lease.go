package main

import (
	"context"
	"sort"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease grants, keeps alive, looks at, revokes, and lets run out.
func lease(s *script) {
	grant, err := s.c.Grant(s.ctx, 600)
	s.must(err)
	s.say("grant: ttl %d has id %t error %q", grant.TTL, grant.ID != 0, grant.Error)
	for _, key := range []string{"lease/b", "lease/a"} {
		_, err = s.c.Put(s.ctx, key, "1", clientv3.WithLease(grant.ID))
		s.must(err)
	}
	r, err := s.c.Get(s.ctx, "lease/", clientv3.WithPrefix())
	s.get("attached", r, err)

	look := func(what string, id clientv3.LeaseID, opts ...clientv3.LeaseOption) {
		r, err := s.c.TimeToLive(s.ctx, id, opts...)
		if err != nil {
			s.say("%s: %T %v", what, err, err)
			return
		}
		sort.Slice(r.Keys, func(i, j int) bool { return string(r.Keys[i]) < string(r.Keys[j]) })
		s.say("%s: granted %d remains %t keys %q same id %t", what, r.GrantedTTL, r.TTL > 0, r.Keys, r.ID == id)
	}
	look("time to live", grant.ID)
	look("with keys", grant.ID, clientv3.WithAttachedKeys())
	list, err := s.c.Leases(s.ctx)
	s.must(err)
	s.say("leases: %d", len(list.Leases))

	once, err := s.c.KeepAliveOnce(s.ctx, grant.ID)
	s.must(err)
	s.say("keep-alive once: ttl %d same id %t", once.TTL, once.ID == grant.ID)
	ctx, cancel := context.WithCancel(s.ctx)
	alive, err := s.c.KeepAlive(ctx, grant.ID)
	s.must(err)
	s.say("keep-alive: ttl %d", (<-alive).TTL)
	cancel()
	for range alive {
	}
	s.say("keep-alive: closed")

	revoked, err := s.c.Revoke(s.ctx, grant.ID)
	s.must(err)
	s.say("revoke: revision %d", revoked.Header.Revision)
	w := s.c.Watch(s.ctx, "lease/", clientv3.WithPrefix(), clientv3.WithRev(revoked.Header.Revision))
	deleted := <-w
	s.say("revoke: %d events in one response", len(deleted.Events))
	look("revoked", grant.ID, clientv3.WithAttachedKeys())
	_, err = s.c.Revoke(s.ctx, grant.ID)
	s.say("revoke again: %T %v", err, err)
	_, err = s.c.KeepAliveOnce(s.ctx, grant.ID)
	s.say("keep alive what is gone: %T %v", err, err)
	_, err = s.c.Grant(s.ctx, 9_000_000_001)
	s.say("too long: %T %v", err, err)
	_, err = s.c.Put(s.ctx, "lease/c", "1", clientv3.WithLease(grant.ID))
	s.say("put with what is gone: %T %v", err, err)

	// A lease that nobody keeps alive takes its key with it.
	short, err := s.c.Grant(s.ctx, 1)
	s.must(err)
	put, err := s.c.Put(s.ctx, "lease/short", "1", clientv3.WithLease(short.ID))
	s.must(err)
	s.events("runs out", s.c.Watch(s.ctx, "lease/short", clientv3.WithRev(put.Header.Revision)), 2)
	look("run out", short.ID)
}
