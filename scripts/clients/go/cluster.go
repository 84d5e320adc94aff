package main

// cluster asks who is there and how they are.
func cluster(s *script) {
	list, err := s.c.MemberList(s.ctx)
	s.must(err)
	s.say("members: %d", len(list.Members))
	for _, m := range list.Members {
		s.say("  %s id %x learner %t peers %d clients %d", m.Name, m.ID, m.IsLearner, len(m.PeerURLs),
			len(m.ClientURLs))
	}
	s.must(s.c.Sync(s.ctx))
	s.say("sync: %d endpoints", len(s.c.Endpoints()))
	status, err := s.c.Status(s.ctx, s.endpoints[0])
	s.must(err)
	s.say("status: cluster %x member %x leader %t learner %t revision %d errors %q size %t",
		status.Header.ClusterId, status.Header.MemberId, status.Leader == status.Header.MemberId,
		status.IsLearner, status.Header.Revision, status.Errors, status.DbSize > 0)
	alarms, err := s.c.AlarmList(s.ctx)
	s.must(err)
	s.say("alarms: %d", len(alarms.Alarms))
}
