package members

import (
	"fmt"
	"slices"

	"github.com/carillon-cron/carillon/internal/members/roster"
	"github.com/carillon-cron/carillon/job"
)

// Addresses are where a member is reached: it listens at the first two, and others
// know it by the URLs.
type Addresses struct {
	PeerListen, ClientListen string
	PeerURL, ClientURL       string
}

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
	own roster.ID
	// running: the etcd runs here.
	running bool
	// wanted: the node is to be a member, as far as there is room.
	wanted bool
	all    []roster.Member
	most   int
}

// self is this node's member: by its number where there is data, and else by its
// address or name.
func (s *standing) self() (roster.Member, bool) {
	i := slices.IndexFunc(s.all, func(m roster.Member) bool {
		if s.own != 0 {
			return m.ID == s.own
		}
		return m.Name == string(s.node) || slices.Contains(m.PeerURLs, s.peerURL)
	})
	if i < 0 {
		return roster.Member{}, false
	}
	return s.all[i], true
}

// next is the table of doc.go: the next step, the member that it is about, and why it
// has to wait.
func (s *standing) next() (step, roster.Member, string) {
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
func (s *standing) room() (step, roster.Member, string) {
	for _, m := range s.all {
		if m.Learner {
			return stepWait, roster.Member{}, fmt.Sprintf("another member joins: %s", roster.NameOf(m))
		}
		if m.Name == "" {
			return stepWait, roster.Member{}, fmt.Sprintf("a member was added and has not started: %s", roster.NameOf(m))
		}
	}
	if n := roster.Voters(s.all); n >= s.most {
		return stepWait, roster.Member{}, fmt.Sprintf("there are %d members already: this node is a client of theirs", n)
	}
	return stepAdd, roster.Member{}, ""
}
