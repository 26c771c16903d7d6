package worker

import (
	"errors"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusal is a node's word that a session is not to be at that node.
type refusal struct {
	// server is where to try next; empty: the node does not say.
	server string
	// taken: another live process has the minion's id there.
	taken bool
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// refused reads what a node has said in place of a welcome.
func refused(st stream, err error) error {
	r := &refusal{taken: status.Code(err) == codes.AlreadyExists, err: err}
	if st != nil {
		if named := st.Trailer().Get(agentpb.ServerTrailer); len(named) > 0 {
			r.server = named[0]
		}
	}
	return r
}

// serverList is where the minion may connect to.
type serverList struct {
	allowed    func(string) bool
	configured []string
	learned    []string
	last       string
	// next is the server that a node has named; empty: none. only is the one that
	// has another process with our id: it alone can tell when that has gone, and
	// others would take us for the one that has moved.
	next, only string
}

func newServerList(configured []string, allowed func(string) bool) *serverList {
	return &serverList{configured: configured, allowed: allowed}
}

// learn takes the addresses that a node has told.
func (s *serverList) learn(addrs []string) {
	if len(addrs) > 0 {
		s.learned = slices.Clone(addrs)
	}
}

// lost puts the server at the end of the next round.
func (s *serverList) lost(addr string) { s.last = addr }

// follow takes what a server's refusal says of where to go. It reports whether
// another process has our id.
func (s *serverList) follow(addr string, err error) (taken bool) {
	s.only = ""
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	if r.taken {
		s.only = addr
	}
	if r.server != "" && s.allowed(r.server) {
		s.next = r.server
	}
	return r.taken
}

// round yields the servers to try. What is followed meanwhile counts at once.
func (s *serverList) round() iter.Seq[string] {
	return func(yield func(string) bool) {
		all := s.shuffled()
		if s.only != "" {
			all = []string{s.only}
		}
		for len(all) > 0 || s.next != "" {
			addr := s.next
			if s.next = ""; addr == "" {
				addr, all = all[0], all[1:]
			}
			if !yield(addr) || s.only != "" {
				return
			}
		}
	}
}

// shuffled returns all servers in random order, the one lost last at the end.
func (s *serverList) shuffled() []string {
	all := slices.Concat(s.configured, s.learned)
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(a string) bool { return !s.allowed(a) })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if i := slices.Index(all, s.last); i >= 0 {
		all = append(slices.Delete(all, i, i+1), s.last)
	}
	return all
}
