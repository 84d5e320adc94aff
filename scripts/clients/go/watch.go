package main

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// watch looks at the past, the future, and both.
func watch(s *script) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	put := func(key, value string) int64 {
		r, err := s.c.Put(s.ctx, key, value)
		s.must(err)
		return r.Header.Revision
	}
	first := put("watch/a", "1")
	put("watch/a", "2")
	put("watch/b", "1")
	_, err := s.c.Delete(s.ctx, "watch/a")
	s.must(err)

	s.events("past", s.c.Watch(ctx, "watch/a", clientv3.WithRev(first)), 3)
	s.events("prefix, values before",
		s.c.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(first), clientv3.WithPrevKV()), 4)
	s.events("no deletes",
		s.c.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(first), clientv3.WithFilterDelete()), 3)
	s.events("no puts",
		s.c.Watch(ctx, "watch/", clientv3.WithPrefix(), clientv3.WithRev(first), clientv3.WithFilterPut()), 1)
	s.events("range",
		s.c.Watch(ctx, "watch/a", clientv3.WithRange("watch/b"), clientv3.WithRev(first)), 3)
	s.events("from key", s.c.Watch(ctx, "watch/b", clientv3.WithFromKey(), clientv3.WithRev(first)), 1)

	// A watch says that it is there before anything is put.
	live := s.c.Watch(ctx, "watch/live", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	created := <-live
	s.say("live: created %t revision %d events %d", created.Created, created.Header.Revision-first, len(created.Events))
	put("watch/live1", "1")
	put("watch/live2", "1")
	put("watch/live1", "2")
	s.events("live", live, 3)

	// All events of one revision come in one response, in the order of the operations.
	_, err = s.c.Txn(s.ctx).Then(clientv3.OpPut("watch/live3", "1"), clientv3.OpDelete("watch/live1"),
		clientv3.OpPut("watch/live2", "2")).Commit()
	s.must(err)
	r := <-live
	s.say("one revision: %d events in one response", len(r.Events))
	for _, e := range r.Events {
		s.say("  %s %s", e.Type, e.Kv.Key)
	}

	// Progress is reported on demand, and not before the events it tells of.
	last := put("watch/elsewhere", "1")
	s.must(s.c.RequestProgress(ctx))
	progress := <-live
	s.say("progress: %t, up to %d of %d", progress.IsProgressNotify(), progress.Header.Revision, last)

	value := make([]byte, 1<<20)
	for i := range 3 {
		put(fmt.Sprintf("watch/big%d", i), string(value))
	}
	size := 0
	big := s.c.Watch(ctx, "watch/big", clientv3.WithPrefix(), clientv3.WithRev(last+1), clientv3.WithFragment())
	for seen := 0; seen < 3; {
		for _, e := range (<-big).Events {
			seen++
			size += len(e.Kv.Value)
		}
	}
	s.say("fragments: %d bytes", size)

	_, err = s.c.Compact(s.ctx, last)
	s.must(err)
	s.events("compacted", s.c.Watch(ctx, "watch/a", clientv3.WithRev(first)), 1)

	cancelled, stop := context.WithCancel(ctx)
	w := s.c.Watch(cancelled, "watch/none", clientv3.WithCreatedNotify())
	<-w
	stop()
	_, open := <-w
	s.say("canceled by us: open %t", open)
}
