// Command go does with clientv3 what programs do with it, and prints one line per thing done.
//
// Usage: go ENDPOINT[,ENDPOINT...]. Against two servers that behave the same, the output is the
// same, line by line: what a server chooses (lease ids, terms) is never printed, and whatever runs
// at the same time as something else is waited for before the next line. Nothing here waits for
// time to pass but for events; a context ends what would wait forever.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// How long all of it may take.
const timeout = 60 * time.Second

// A section works in its own prefix of the key space, and leaves what it wants there.
var sections = []struct {
	name string
	run  func(*script)
}{
	{"kv", kv},
	{"txn", txn},
	{"stream", stream},
	{"compact", compact},
	{"watch", watch},
	{"lease", lease},
	{"cluster", cluster},
	{"session", session},
	{"mutex", mutex},
	{"election", election},
	{"stm", stm},
	{"namespace", namespaces},
	{"ordering", order},
	{"mirror", mirrors},
	{"leasing", leases},
	{"kubernetes", kubernetesClient},
	{"recipes", recipes},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go ENDPOINT[,ENDPOINT...]")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	endpoints := strings.Split(os.Args[1], ",")
	for _, section := range sections {
		s := &script{ctx: ctx, endpoints: endpoints, section: section.name}
		s.c = s.connect()
		section.run(s)
		s.c.Close()
	}
}

// script is what a section works with.
type script struct {
	ctx       context.Context
	endpoints []string
	section   string
	c         *clientv3.Client
}

// connect makes a further client, as another process would have.
func (s *script) connect() *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: s.endpoints,
		Context:   s.ctx,
		Logger:    zap.NewNop(),
	})
	s.must(err)
	return c
}

// say prints a line.
func (s *script) say(format string, args ...any) {
	fmt.Printf("%s: %s\n", s.section, fmt.Sprintf(format, args...))
}

// must ends the script on an error that no server should give here.
func (s *script) must(err error) {
	if err != nil {
		s.say("UNEXPECTED %v", err)
		os.Exit(1)
	}
}

// get prints what a range holds, with every number that two servers must agree on.
func (s *script) get(what string, r *clientv3.GetResponse, err error) {
	if err != nil {
		s.say("%s: %T %v", what, err, err)
		return
	}
	s.say("%s: revision %d count %d more %t", what, r.Header.Revision, r.Count, r.More)
	for _, kv := range r.Kvs {
		s.say("  %s=%q create %d mod %d version %d leased %t", kv.Key, kv.Value,
			kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease != 0)
	}
}

// events prints the events of a watch until so many have come.
func (s *script) events(what string, w clientv3.WatchChan, wanted int) {
	for seen := 0; seen < wanted; {
		r, ok := <-w
		if !ok {
			s.say("%s: closed", what)
			return
		}
		if r.Created || r.Err() != nil {
			s.say("%s: created %t canceled %t compact %d error %v", what, r.Created, r.Canceled,
				r.CompactRevision, r.Err())
		}
		if r.Err() != nil {
			return
		}
		for _, e := range r.Events {
			seen++
			line := fmt.Sprintf("%s %s=%q mod %d version %d", e.Type, e.Kv.Key, e.Kv.Value,
				e.Kv.ModRevision, e.Kv.Version)
			if e.PrevKv != nil {
				line += fmt.Sprintf(" before %q mod %d", e.PrevKv.Value, e.PrevKv.ModRevision)
			}
			s.say("%s: %s", what, line)
		}
	}
}
