package control

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// FactsFromMinion says that facts are a minion's own word: nobody has checked
// them.
const FactsFromMinion = "minion"

// MinionView is a known minion.
type MinionView struct {
	job.Minion
	// FactsFrom is FactsFromMinion; empty: there are no facts.
	FactsFrom string `json:"factsFrom,omitempty" enum:"minion" doc:"Who said what is in facts: the minion itself, and nobody has checked it. Labels are granted by operators; those in requestedLabels are not, and match nothing."`
	// State is "connected" or "disconnected"; Trouble tells whether it gets orders.
	State string `json:"state"`
}

func viewOfMinion(m job.Minion) MinionView {
	v := MinionView{Minion: m, State: MinionConnected}
	if m.Node == "" {
		v.State = MinionDisconnected
	}
	if len(m.Facts) > 0 {
		v.FactsFrom = FactsFromMinion
	}
	return v
}

// GrantCommand is the command that grants the labels which the minion asks for,
// by their names, so that what is granted is what its reader saw. A minion may
// ask for any text, and readers copy the command into a shell: labels that hold
// more than letters, digits and a few signs are not in it. Empty: it asks for
// none that can be.
func (v *MinionView) GrantCommand() string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(v.Requested)) {
		if job.CheckLabel(k, v.Requested[k]) == nil && plainWord(v.Requested[k]) {
			words = append(words, k+"="+v.Requested[k])
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "carillon minions label " + string(v.ID) + " " + strings.Join(words, " ")
}

// plainWord reports whether a shell, a terminal and a page take text for nothing
// but itself.
func plainWord(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return false
		}
		return !strings.ContainsRune("._-+:/@", c)
	})
}

// MinionDetail is all that is known of one minion.
type MinionDetail struct {
	MinionView
	// Granted tells who granted the labels last; nil: it has been granted none.
	Granted *LabelGrant `json:"granted,omitempty"`
	// Certificate is its enrollment, with the fingerprint of its key; nil: it has
	// not joined, as where nodes run with --insecure.
	Certificate *etcdkv.Enrollment `json:"certificate,omitempty"`
}

// LabelGrant tells who granted labels, and when.
type LabelGrant struct {
	// By is a user, or a token as "token k3x9".
	By    string    `json:"by,omitempty"`
	Since time.Time `json:"since"`
}

// Minion returns what is known of one minion: one that has been connected, or
// has joined. The error is job.ErrNotFound where there is none.
func (c *Control) Minion(ctx context.Context, id job.MinionID) (MinionDetail, error) {
	var out MinionDetail
	if err := job.CheckName(string(id)); err != nil {
		return out, invalid("minion", err.Error())
	}
	all, err := c.allMinions()
	if err != nil {
		return out, err
	}
	keys := c.cfg.Keys
	resp, err := c.txn(ctx, "read minion "+string(id), nil, []clientv3.Op{
		clientv3.OpGet(keys.Minion(id)), clientv3.OpGet(keys.Grant(id)), clientv3.OpGet(keys.AuthMinion(id)),
	})
	if err != nil {
		return out, err
	}
	known := false
	m := job.Minion{ID: id}
	if kvs := resp.Responses[1].GetResponseRange().GetKvs(); len(kvs) > 0 {
		g, err := decode[etcdkv.Grant](kvs[0])
		if err != nil {
			return out, err
		}
		m.Labels = g.Labels
		out.Granted = &LabelGrant{By: g.By, Since: g.Since}
	}
	if kvs := resp.Responses[2].GetResponseRange().GetKvs(); len(kvs) > 0 {
		e, err := decode[etcdkv.Enrollment](kvs[0])
		if err != nil {
			return out, err
		}
		known, out.Certificate = true, &e
	}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		stored, err := decode[etcdkv.StoredMinion](kvs[0])
		if err != nil {
			return out, err
		}
		known, m = true, saidAndGranted(&stored, m.Labels)
	}
	for _, live := range all { // knows more, and newer
		if live.ID == id {
			known, m = true, live
		}
	}
	if !known {
		return out, fmt.Errorf("minion %s: %w", id, job.ErrNotFound)
	}
	out.MinionView = viewOfMinion(m)
	return out, nil
}
