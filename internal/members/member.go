package members

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/carillon-cron/carillon/job"
)

// ID is a number of etcd: of a member, or of its cluster.
type ID uint64

// String is the number as etcdctl prints it.
func (i ID) String() string { return strconv.FormatUint(uint64(i), 16) }

// ParseID reads what String returns.
func ParseID(text string) (ID, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not the number of a member", text)
	}
	return ID(n), nil
}

// Addresses are where a member is reached: it listens at the first two, and others
// know it by the URLs.
type Addresses struct {
	PeerListen, ClientListen string
	PeerURL, ClientURL       string
}

// Member is a member as etcd lists it.
type Member struct {
	ID ID
	// Name is that of its node; empty: it was never started.
	Name       string
	PeerURLs   []string
	ClientURLs []string
	// Learner: it is told everything, and has no vote.
	Learner bool
}

func membersOf(list []*etcdserverpb.Member) []Member {
	out := make([]Member, len(list))
	for i, m := range list {
		out[i] = Member{ID: ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// voters counts the members with a vote.
func voters(all []Member) int {
	n := 0
	for _, m := range all {
		if !m.Learner {
			n++
		}
	}
	return n
}

// endpoints are where clients reach the members that have a vote.
func endpoints(all []Member) []string {
	var out []string
	for _, m := range all {
		if !m.Learner {
			out = append(out, m.ClientURLs...)
		}
	}
	slices.Sort(out)
	return slices.Compact(slices.DeleteFunc(out, func(e string) bool { return !isHTTPS(e) }))
}

func isHTTPS(endpoint string) bool { return len(endpoint) > 8 && endpoint[:8] == "https://" }

// step is what a node has to do next to become, to be, or not to be a member.
type step string

// The steps; doc.go has the table.
const (
	stepNone    step = "none"
	stepWait    step = "wait"
	stepAdd     step = "add"
	stepStart   step = "start"
	stepPromote step = "promote"
	stepMove    step = "move"
	stepReplace step = "replace"
	stepDiscard step = "discard"
	stepLeave   step = "leave"
)

// standing is what a node knows when it decides on its next step.
type standing struct {
	node    job.NodeID
	peerURL string
	// own is the number of the member that the data here is of; 0: there is no data.
	own ID
	// running: the etcd runs here.
	running bool
	// wanted: the node is to be a member, as far as there is room.
	wanted bool
	all    []Member
	most   int
}

// self is this node's member: by its number where there is data, and else by its
// address or name.
func (s *standing) self() (Member, bool) {
	i := slices.IndexFunc(s.all, func(m Member) bool {
		if s.own != 0 {
			return m.ID == s.own
		}
		return m.Name == string(s.node) || slices.Contains(m.PeerURLs, s.peerURL)
	})
	if i < 0 {
		return Member{}, false
	}
	return s.all[i], true
}

// next is the table of doc.go: the next step, the member that it is about, and why it
// has to wait.
func (s *standing) next() (step, Member, string) {
	self, listed := s.self()
	switch {
	case s.own != 0 && !listed:
		return stepDiscard, self, ""
	case !listed && !s.wanted:
		return stepNone, self, ""
	case !listed:
		return s.room()
	case !s.wanted:
		return stepLeave, self, ""
	case s.own == 0 && self.Name != "":
		return stepReplace, self, ""
	case !s.running:
		return stepStart, self, ""
	case self.Learner:
		return stepPromote, self, ""
	case !slices.Equal(self.PeerURLs, []string{s.peerURL}):
		return stepMove, self, ""
	}
	return stepNone, self, ""
}

// room decides whether there is room for another member now.
func (s *standing) room() (step, Member, string) {
	for _, m := range s.all {
		if m.Learner {
			return stepWait, Member{}, fmt.Sprintf("another member joins: %s", nameOf(m))
		}
		if m.Name == "" {
			return stepWait, Member{}, fmt.Sprintf("a member was added and has not started: %s", nameOf(m))
		}
	}
	if n := voters(s.all); n >= s.most {
		return stepWait, Member{}, fmt.Sprintf("there are %d members already: this node is a client of theirs", n)
	}
	return stepAdd, Member{}, ""
}

func nameOf(m Member) string {
	if m.Name == "" {
		return m.ID.String() + fmt.Sprint(m.PeerURLs)
	}
	return m.Name
}

// keepsMajority tells why a member cannot be removed, or nil: of those that would be
// left, a majority must answer.
func keepsMajority(all []Member, gone ID, answers func(Member) bool) error {
	left, live := 0, 0
	var silent []string
	for _, m := range all {
		switch {
		case m.ID == gone || m.Learner:
		case answers(m):
			left++
			live++
		default:
			left++
			silent = append(silent, nameOf(m))
		}
	}
	switch need := left/2 + 1; {
	case left == 0:
		return fmt.Errorf("it is the last member, and all data of the cluster is there: %w", job.ErrConflict)
	case live < need:
		return fmt.Errorf("of the %d members that would be left %d must answer, and %d do (not: %v); bring those back or remove them first: %w", left, need, live, silent, job.ErrConflict)
	}
	return nil
}
