package sharing

import (
	"fmt"

	"github.com/carillon-cron/carillon/handler/shared"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// value is what a scope holds, while a round does requests to it.
type value struct {
	etcdkv.SharedState
	// marked: a barrier was.
	marked bool
}

// mark notes what has become of a barrier, unless that is known.
func (v *value) mark(name string, m etcdkv.SharedBarrier) shared.Answer {
	if was, ok := v.Barriers[name]; ok {
		return passed(name, &was)
	}
	if len(v.Barriers) >= shared.MaxBarriers {
		return shared.Answer{Code: shared.CodeFull, Reason: fmt.Sprintf("the run has had %d barriers already; at most that many are allowed", len(v.Barriers))}
	}
	if v.Barriers == nil {
		v.Barriers = map[string]etcdkv.SharedBarrier{}
	}
	v.Barriers[name] = m
	v.marked = true
	return passed(name, &m)
}

// passed is what who comes to a barrier is told of which it is known what has become.
func passed(name string, m *etcdkv.SharedBarrier) shared.Answer {
	if m.Broken != "" {
		return shared.Answer{Code: shared.CodeBroken, Reason: name + ": " + m.Broken}
	}
	return shared.Answer{Code: shared.CodeOK, Arrived: m.Of, Of: m.Of}
}
