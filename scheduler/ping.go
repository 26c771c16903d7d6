package scheduler

import "github.com/carillon-cron/carillon/job"

// pings is the check that is told of the job's runs; nil: there is none.
func (e *entry) pings() *job.Ping {
	if e.Optional == nil {
		return nil
	}
	return e.Optional.Ping
}

// ping has a fire's check told. Nobody waits for that, and nothing is stored: a check that
// hears nothing says so itself.
func (s *shard) ping(f *fire, event job.PingEvent, text string) {
	check := f.e.pings()
	if check == nil || s.deps.Ping == nil || f.e.Gone {
		return
	}
	s.deps.Ping(job.PingCall{Job: f.e.key, Ping: *check, Run: f.runID(), Event: event, Text: text})
}

// pingEnd has the check told how a fire ended, if that tells anything.
func (s *shard) pingEnd(f *fire, state job.State, reason string) {
	event, ok := job.PingAt(f.outcome(state))
	if !ok {
		return
	}
	text := f.e.key.String() + ": " + string(state)
	if reason != "" {
		text += ": " + reason
	}
	s.ping(f, event, text)
}
