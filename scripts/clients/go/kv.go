package main

import (
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/clientv3util"
)

// kv puts, gets and deletes with every option.
func kv(s *script) {
	put := func(key, value string, opts ...clientv3.OpOption) {
		r, err := s.c.Put(s.ctx, key, value, opts...)
		if err != nil {
			s.say("put %s: %T %v", key, err, err)
			return
		}
		s.say("put %s: revision %d", key, r.Header.Revision)
		if r.PrevKv != nil {
			s.say("  before %q version %d", r.PrevKv.Value, r.PrevKv.Version)
		}
	}
	put("kv/a", "1")
	put("kv/a", "2", clientv3.WithPrevKV())
	put("kv/b", "3")
	put("kv/c", "0")
	put("kv/a", "", clientv3.WithIgnoreValue())
	put("kv/none", "", clientv3.WithIgnoreValue())
	put("kv/none", "1", clientv3.WithLease(12345))
	put("kv/none", "1", clientv3.WithIgnoreLease())
	put("", "1")

	get := func(what, key string, opts ...clientv3.OpOption) {
		r, err := s.c.Get(s.ctx, key, opts...)
		s.get("get "+what, r, err)
	}
	get("one", "kv/a")
	get("none", "kv/none")
	get("empty key", "")
	get("prefix", "kv/", clientv3.WithPrefix())
	get("limit", "kv/", clientv3.WithPrefix(), clientv3.WithLimit(2))
	get("count", "kv/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	get("keys", "kv/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	get("descending", "kv/", clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	get("by value", "kv/", clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend))
	get("by version, the last", "kv/", clientv3.WithPrefix(), clientv3.WithLimit(1),
		clientv3.WithSort(clientv3.SortByVersion, clientv3.SortDescend))
	get("first created", "kv/", clientv3.WithFirstCreate()...)
	get("last modified", "kv/", clientv3.WithLastRev()...)
	get("range", "kv/a", clientv3.WithRange("kv/c"))
	get("inverted range", "kv/c", clientv3.WithRange("kv/a"))
	get("from key", "kv/b", clientv3.WithFromKey())
	get("past", "kv/a", clientv3.WithRev(2))
	get("future", "kv/a", clientv3.WithRev(1000))
	get("min mod", "kv/", clientv3.WithPrefix(), clientv3.WithMinModRev(5))
	get("max mod", "kv/", clientv3.WithPrefix(), clientv3.WithMaxModRev(5))
	get("min create", "kv/", clientv3.WithPrefix(), clientv3.WithMinCreateRev(4))
	get("max create", "kv/", clientv3.WithPrefix(), clientv3.WithMaxCreateRev(4))
	get("serializable", "kv/a", clientv3.WithSerializable())

	del := func(what, key string, opts ...clientv3.OpOption) {
		r, err := s.c.Delete(s.ctx, key, opts...)
		if err != nil {
			s.say("delete %s: %T %v", what, err, err)
			return
		}
		s.say("delete %s: revision %d deleted %d", what, r.Header.Revision, r.Deleted)
		for _, kv := range r.PrevKvs {
			s.say("  before %s=%q", kv.Key, kv.Value)
		}
	}
	del("none", "kv/none")
	del("one", "kv/b", clientv3.WithPrevKV())
	del("prefix", "kv/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	del("nothing left", "kv/", clientv3.WithPrefix())
	del("empty key", "")
	put("kv/a", "again")
	get("again", "kv/a")
}

// txn compares everything that can be compared, in both branches, nested, and invalid.
func txn(s *script) {
	_, err := s.c.Put(s.ctx, "txn/a", "1")
	s.must(err)
	commit := func(what string, t clientv3.Txn) {
		r, err := t.Commit()
		if err != nil {
			s.say("%s: %T %v", what, err, err)
			return
		}
		s.say("%s: succeeded %t revision %d responses %d", what, r.Succeeded, r.Header.Revision,
			len(r.Responses))
		for _, op := range r.Responses {
			switch {
			case op.GetResponseRange() != nil:
				s.get("  range", (*clientv3.GetResponse)(withHeader(op.GetResponseRange(), r.Header)), nil)
			case op.GetResponsePut() != nil:
				s.say("  put")
			case op.GetResponseDeleteRange() != nil:
				s.say("  deleted %d", op.GetResponseDeleteRange().Deleted)
			case op.GetResponseTxn() != nil:
				s.say("  txn: succeeded %t", op.GetResponseTxn().Succeeded)
			}
		}
	}
	start := func() clientv3.Txn { return s.c.Txn(s.ctx) }
	a := "txn/a"
	for _, target := range []struct {
		name    string
		cmp     clientv3.Cmp
		is, not any
	}{
		{"value", clientv3.Value(a), "1", "2"},
		{"version", clientv3.Version(a), 1, 2},
		{"create", clientv3.CreateRevision(a), 10, 11},
		{"mod", clientv3.ModRevision(a), 10, 11},
		{"lease", clientv3.LeaseValue(a), clientv3.LeaseID(0), clientv3.LeaseID(7)},
	} {
		for _, result := range []string{"=", "!=", "<", ">"} {
			for _, with := range []any{target.is, target.not} {
				r, err := start().If(clientv3.Compare(target.cmp, result, with)).Commit()
				s.must(err)
				s.say("%s %s %v: %t", target.name, result, with, r.Succeeded)
			}
		}
	}
	missing := clientv3util.KeyMissing("txn/new")
	commit("create", start().If(missing).Then(clientv3.OpPut("txn/new", "x")).Else(clientv3.OpGet("txn/new")))
	commit("create again", start().If(missing).Then(clientv3.OpPut("txn/new", "x")).Else(clientv3.OpGet("txn/new")))
	commit("value of a missing key",
		start().If(clientv3.Compare(clientv3.Value("txn/none"), "!=", "x")))
	commit("a range of keys",
		start().If(clientv3.Compare(clientv3.Version("txn/"), "=", 1).WithPrefix()))
	commit("reads its writes", start().Then(
		clientv3.OpPut(a, "2"), clientv3.OpGet(a), clientv3.OpDelete("txn/new"),
		clientv3.OpGet("txn/", clientv3.WithPrefix())))
	commit("nested", start().Then(clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value(a), "=", "2")},
		[]clientv3.Op{clientv3.OpPut("txn/then", "1")},
		[]clientv3.Op{clientv3.OpPut("txn/else", "1")})))
	commit("nothing", start())
	commit("only reads", start().Then(clientv3.OpGet(a)))
	commit("the same key twice", start().Then(clientv3.OpPut(a, "8"), clientv3.OpPut(a, "9")))
	commit("put and delete", start().Then(clientv3.OpPut(a, "8"), clientv3.OpDelete(a)))
	commit("an empty key", start().Then(clientv3.OpPut("", "8")))
	many := make([]clientv3.Op, 129)
	for i := range many {
		many[i] = clientv3.OpGet(a)
	}
	commit("too many operations", start().Then(many...))
	commit("an unknown lease", start().Then(clientv3.OpPut(a, "8", clientv3.WithLease(12345))))
	commit("a future revision", start().Then(clientv3.OpGet(a, clientv3.WithRev(1000))))
	r, err := s.c.Get(s.ctx, "txn/", clientv3.WithPrefix())
	s.get("after all", r, err)
}

// stream gets a range in pieces.
func stream(s *script) {
	for i := range 5 {
		_, err := s.c.Put(s.ctx, fmt.Sprintf("stream/%d", i), "value")
		s.must(err)
	}
	get := func(what string, opts ...clientv3.OpOption) {
		pieces, err := s.c.GetStream(s.ctx, "stream/", append(opts, clientv3.WithPrefix())...)
		if err != nil {
			s.say("%s: %T %v", what, err, err)
			return
		}
		r, err := clientv3.GetStreamToGetResponse(pieces)
		s.get(what, r, err)
	}
	get("all")
	get("limit", clientv3.WithLimit(2))
	get("count", clientv3.WithCountOnly())
	get("future", clientv3.WithRev(1000))
	get("descending", clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
}

// compact gives up history, and asks for what is gone.
func compact(s *script) {
	for range 4 {
		_, err := s.c.Put(s.ctx, "compact/a", "x")
		s.must(err)
	}
	r, err := s.c.Get(s.ctx, "compact/a")
	s.must(err)
	now := r.Header.Revision
	do := func(what string, revision int64, opts ...clientv3.CompactOption) {
		r, err := s.c.Compact(s.ctx, revision, opts...)
		if err != nil {
			s.say("%s: %T %v", what, err, err)
			return
		}
		s.say("%s: revision %d", what, r.Header.Revision)
	}
	do("compact", now-2)
	do("again", now-2)
	do("physical", now-1, clientv3.WithCompactPhysical())
	do("the future", now+1000)
	for back := range int64(4) {
		r, err := s.c.Get(s.ctx, "compact/a", clientv3.WithRev(now-back))
		s.get(fmt.Sprintf("%d before", back), r, err)
	}
}
