package main

import (
	"sync"

	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
)

// recipes are the larger things that people build of keys: queues, barriers, shared locks.
func recipes(s *script) {
	queue := recipe.NewQueue(s.c, "recipes/queue")
	for _, value := range []string{"first", "second"} {
		s.must(queue.Enqueue(value))
	}
	for range 2 {
		value, err := queue.Dequeue()
		s.must(err)
		s.say("queue: %s", value)
	}
	urgent := recipe.NewPriorityQueue(s.c, "recipes/urgent")
	s.must(urgent.Enqueue("later", 9))
	s.must(urgent.Enqueue("now", 1))
	for range 2 {
		value, err := urgent.Dequeue()
		s.must(err)
		s.say("priority queue: %s", value)
	}
	barrier := recipe.NewBarrier(s.c, "recipes/barrier")
	s.must(barrier.Hold())
	passed := make(chan error)
	go func() { passed <- recipe.NewBarrier(s.c, "recipes/barrier").Wait() }()
	s.must(barrier.Release())
	s.say("barrier: passed %v", <-passed)

	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			session := s.open()
			defer s.shut(session)
			both := recipe.NewDoubleBarrier(session, "recipes/both", 2)
			s.must(both.Enter())
			s.must(both.Leave())
		})
	}
	all.Wait()
	s.say("double barrier: both in, both out")

	one, two := s.open(), s.open()
	reader, writer := recipe.NewRWMutex(one, "recipes/rw"), recipe.NewRWMutex(two, "recipes/rw")
	s.must(reader.RLock())
	written := make(chan error)
	go func() { written <- writer.Lock() }()
	s.must(reader.RUnlock())
	s.must(<-written)
	s.must(writer.Unlock())
	s.say("shared lock: read, then written")
	s.shut(one)
	s.shut(two)
}
