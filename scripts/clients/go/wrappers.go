package main

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/ordering"
)

// withHeader gives a response inside a txn the header of the txn.
func withHeader(r *pb.RangeResponse, header *pb.ResponseHeader) *pb.RangeResponse {
	r.Header = header
	return r
}

// namespaces puts a prefix before every key, and takes it off again.
func namespaces(s *script) {
	inner := s.connect()
	defer inner.Close()
	inner.KV = namespace.NewKV(inner.KV, "namespace/")
	inner.Watcher = namespace.NewWatcher(inner.Watcher, "namespace/")
	inner.Lease = namespace.NewLease(inner.Lease, "namespace/")

	put, err := inner.Put(s.ctx, "a", "1")
	s.must(err)
	r, err := inner.Get(s.ctx, "a")
	s.get("inside", r, err)
	r, err = s.c.Get(s.ctx, "namespace/a")
	s.get("outside", r, err)
	txn, err := inner.Txn(s.ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "1")).
		Then(clientv3.OpPut("b", "2"), clientv3.OpGet("", clientv3.WithPrefix())).Commit()
	s.must(err)
	s.say("txn: succeeded %t", txn.Succeeded)
	for _, kv := range txn.Responses[1].GetResponseRange().Kvs {
		s.say("  %s", kv.Key)
	}
	r, err = inner.Get(s.ctx, "a", clientv3.WithFromKey())
	s.get("from key", r, err)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.events("watch", inner.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision)), 2)

	grant, err := inner.Grant(s.ctx, 600)
	s.must(err)
	_, err = inner.Put(s.ctx, "leased", "1", clientv3.WithLease(grant.ID))
	s.must(err)
	keys, err := inner.TimeToLive(s.ctx, grant.ID, clientv3.WithAttachedKeys())
	s.must(err)
	s.say("keys of a lease: %q", keys.Keys)
	del, err := inner.Delete(s.ctx, "", clientv3.WithPrefix(), clientv3.WithPrevKV())
	s.must(err)
	s.say("delete: %d, first %s", del.Deleted, del.PrevKvs[0].Key)
}

// order sees that no answer is older than one before it.
func order(s *script) {
	violations := 0
	kv := ordering.NewKV(s.c.KV, func(clientv3.Op, clientv3.OpResponse, int64) error {
		violations++
		return ordering.ErrNoGreaterRev
	})
	for i := range 3 {
		_, err := s.c.Put(s.ctx, "ordering/a", fmt.Sprint(i))
		s.must(err)
		r, err := kv.Get(s.ctx, "ordering/a")
		s.get("get", r, err)
		r, err = kv.Get(s.ctx, "ordering/a", clientv3.WithSerializable())
		s.get("serializable", r, err)
		txn, err := kv.Txn(s.ctx).If(clientv3.Compare(clientv3.Version("ordering/a"), ">", 1)).
			Then(clientv3.OpPut("ordering/b", "1")).Else(clientv3.OpGet("ordering/a")).Commit()
		s.must(err)
		s.say("txn: succeeded %t revision %d", txn.Succeeded, txn.Header.Revision)
	}
	s.say("violations: %d", violations)
}

// mirrors copies a prefix as it is, and then as it changes.
func mirrors(s *script) {
	// More than one batch of the syncer's.
	for i := 0; i < 1200; i += 100 {
		ops := []clientv3.Op{}
		for j := i; j < i+100; j++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("mirror/%04d", j), "1"))
		}
		_, err := s.c.Txn(s.ctx).Then(ops...).Commit()
		s.must(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	syncer := mirror.NewSyncer(s.c, "mirror/", 0)
	base, errs := syncer.SyncBase(ctx)
	for r := range base {
		s.say("base: %d of %d from %s, more %t", len(r.Kvs), r.Count, r.Kvs[0].Key, r.More)
	}
	s.must(<-errs)
	_, err := s.c.Put(s.ctx, "mirror/0000", "2")
	s.must(err)
	_, err = s.c.Delete(s.ctx, "mirror/0001")
	s.must(err)
	s.events("update", syncer.SyncUpdates(ctx), 2)
}

// leases caches keys while nobody else wants to write them.
func leases(s *script) {
	one, closeOne, err := leasing.NewKV(s.c, "leasing-of/")
	s.must(err)
	defer closeOne()
	otherClient := s.connect()
	defer otherClient.Close()
	two, closeTwo, err := leasing.NewKV(otherClient, "leasing-of/")
	s.must(err)
	defer closeTwo()

	_, err = s.c.Put(s.ctx, "leasing/a", "1")
	s.must(err)
	r, err := one.Get(s.ctx, "leasing/a")
	s.get("acquired", r, err)
	r, err = one.Get(s.ctx, "leasing/a")
	s.get("from the cache", r, err)
	r, err = s.c.Get(s.ctx, "leasing-of/", clientv3.WithPrefix())
	s.get("who has it", r, err)

	// Another's write takes the key away first.
	put, err := two.Put(s.ctx, "leasing/a", "2")
	s.must(err)
	s.say("put by another: revision %d", put.Header.Revision)
	r, err = two.Get(s.ctx, "leasing/a")
	s.get("by another", r, err)
	txn, err := two.Txn(s.ctx).If(clientv3.Compare(clientv3.Value("leasing/a"), "=", "2")).
		Then(clientv3.OpPut("leasing/b", "1"), clientv3.OpGet("leasing/a")).Commit()
	s.must(err)
	s.say("txn: succeeded %t revision %d", txn.Succeeded, txn.Header.Revision)
	del, err := one.Delete(s.ctx, "leasing/", clientv3.WithPrefix())
	s.must(err)
	s.say("delete: %d", del.Deleted)
	r, err = two.Get(s.ctx, "leasing/a")
	s.get("deleted", r, err)
}

// kubernetesClient does what an API server does with its store.
func kubernetesClient(s *script) {
	c, err := kubernetes.New(clientv3.Config{Endpoints: s.endpoints, Context: s.ctx})
	s.must(err)
	defer c.Close()
	k := c.Kubernetes
	created, err := k.OptimisticPut(s.ctx, "k8s/pod/a", []byte("1"), 0, kubernetes.PutOptions{})
	s.must(err)
	s.say("create: succeeded %t", created.Succeeded)
	again, err := k.OptimisticPut(s.ctx, "k8s/pod/a", []byte("2"), 0, kubernetes.PutOptions{GetOnFailure: true})
	s.must(err)
	s.say("create again: succeeded %t, there is %q", again.Succeeded, again.KV.Value)
	updated, err := k.OptimisticPut(s.ctx, "k8s/pod/a", []byte("2"), created.Revision, kubernetes.PutOptions{})
	s.must(err)
	s.say("update: succeeded %t, %d later", updated.Succeeded, updated.Revision-created.Revision)
	for _, name := range []string{"b", "c", "d"} {
		_, err = k.OptimisticPut(s.ctx, "k8s/pod/"+name, []byte("1"), 0, kubernetes.PutOptions{})
		s.must(err)
	}
	page, err := k.List(s.ctx, "k8s/pod/", kubernetes.ListOptions{Limit: 3})
	s.must(err)
	s.say("list: %d of %d", len(page.Kvs), page.Count)
	page, err = k.List(s.ctx, "k8s/pod/", kubernetes.ListOptions{Limit: 3, Revision: page.Revision,
		Continue: string(page.Kvs[2].Key) + "\x00"})
	s.must(err)
	s.say("continued: %d of %d", len(page.Kvs), page.Count)
	got, err := k.Get(s.ctx, "k8s/pod/a", kubernetes.GetOptions{})
	s.must(err)
	s.say("get: %q", got.KV.Value)
	stale, err := k.OptimisticDelete(s.ctx, "k8s/pod/a", created.Revision, kubernetes.DeleteOptions{GetOnFailure: true})
	s.must(err)
	s.say("delete of what changed: succeeded %t, there is %q", stale.Succeeded, stale.KV.Value)
	deleted, err := k.OptimisticDelete(s.ctx, "k8s/pod/a", updated.Revision, kubernetes.DeleteOptions{})
	s.must(err)
	s.say("delete: succeeded %t", deleted.Succeeded)
	count, err := k.Count(s.ctx, "k8s/pod/", kubernetes.CountOptions{})
	s.must(err)
	s.say("count: %d", count)
}
