package roster

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

// Of returns members as etcd lists them, by name.
func Of(list []*etcdserverpb.Member) []Member {
	out := make([]Member, len(list))
	for i, m := range list {
		out[i] = Member{ID: ID(m.ID), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Voters counts the members with a vote.
func Voters(all []Member) int {
	n := 0
	for _, m := range all {
		if !m.Learner {
			n++
		}
	}
	return n
}

// Endpoints are where clients reach the members that have a vote.
func Endpoints(all []Member) []string {
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

// NameOf is the name of a member for people.
func NameOf(m Member) string {
	if m.Name == "" {
		return m.ID.String() + fmt.Sprint(m.PeerURLs)
	}
	return m.Name
}

// KeepsMajority tells why a member cannot be removed, or nil: of those that would be
// left, a majority must answer.
func KeepsMajority(all []Member, gone ID, answers func(Member) bool) error {
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
			silent = append(silent, NameOf(m))
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
