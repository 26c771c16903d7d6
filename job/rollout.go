package job

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Rollout says in which order, how many at a time, and how far a run on several
// minions goes. The zero Rollout starts on all of them at once.
type Rollout struct {
	// Canary is a target expression: the matching minions go first, and the
	// others only when all of these have succeeded.
	Canary string `json:"canary,omitempty"`
	// CanaryCount bounds the canaries, the first ones in order. Zero: all that
	// Canary matches; without Canary: there are none.
	CanaryCount int `json:"canaryCount,omitempty"`
	// Promote says what lets the others start. Empty: PromoteSuccess.
	Promote Promote `json:"promote,omitempty"`
	// Batch is how many minions run at a time: a number, or a share such as
	// "10%". Zero: all.
	Batch Amount `json:"batch,omitempty"`
	// Pause, when not zero, makes batches wait for one another: the next one
	// starts so long after the last minion of the one before has ended. Zero: as
	// one minion ends, the next one starts.
	Pause Duration `json:"pause,omitempty"`
	// MaxFailures is how many minions may fail: with one more, the rest is not
	// started. A number, or a share. Nil: any number may.
	MaxFailures *Amount `json:"maxFailures,omitempty"`
	// Order says which minions come first. Empty: OrderName.
	Order StartOrder `json:"order,omitempty"`
	// OrderBy is the label or fact by whose value OrderLabel goes, as in site.
	OrderBy string `json:"orderBy,omitempty"`
	// MaxPer bounds how many run at a time among the minions that have the same
	// value of a label or fact, as in {rack: 2}.
	MaxPer map[string]int `json:"maxPer,omitempty"`
	// ClusterMaxPer is as MaxPer, and counts the tasks of all runs in the cluster
	// that have such a bound on the label: a task starts only where fewer than this
	// run's bound are under way.
	ClusterMaxPer map[string]int `json:"clusterMaxPer,omitempty"`
}

// Promote says what lets a rollout go on from its canaries.
type Promote string

// The ways of promotion.
const (
	// PromoteSuccess: that they succeeded. The default.
	PromoteSuccess Promote = "success"
	// PromoteManual: that they succeeded, and somebody resumed the run.
	PromoteManual Promote = "manual"
)

// Promotes lists the ways, the default first.
func Promotes() []Promote { return []Promote{PromoteSuccess, PromoteManual} }

// StartOrder says which minions of a rollout come first.
type StartOrder string

// The orders.
const (
	// OrderName: by their names, numbers in them by value. The default.
	OrderName StartOrder = "name"
	// OrderShuffle: any order, another one for each run.
	OrderShuffle StartOrder = "shuffle"
	// OrderLabel: by the value of a label, one value after the other.
	OrderLabel StartOrder = "label"
)

// StartOrders lists the orders, the default first.
func StartOrders() []StartOrder { return []StartOrder{OrderName, OrderShuffle, OrderLabel} }

// IsZero reports whether the rollout starts everywhere at once.
func (r Rollout) IsZero() bool {
	return r.Canary == "" && r.CanaryCount == 0 && r.Promote == "" && r.Batch == "" && r.Pause == 0 &&
		r.MaxFailures == nil && r.Order == "" && r.OrderBy == "" && len(r.MaxPer) == 0 && len(r.ClusterMaxPer) == 0
}

// Amount is a number of minions, or a share of them: "20", "10%". Empty: not
// said.
type Amount string

// ParseAmount reads "20" or "10%".
func ParseAmount(s string) (Amount, error) {
	_, _, err := parseAmount(s)
	return Amount(s), err
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Amount) UnmarshalText(b []byte) error {
	if _, _, err := parseAmount(string(b)); err != nil {
		return err
	}
	*a = Amount(b)
	return nil
}

// Of returns how many of n are meant. A share is rounded down, and is at least
// least.
func (a Amount) Of(n, least int) int {
	v, share, err := parseAmount(string(a))
	switch {
	case err != nil:
		return least
	case share:
		return max(int(math.Floor(float64(n)*v/100)), least)
	}
	return max(int(v), least)
}

// AtLeast returns how many of n are meant by a share that is rounded up.
func (a Amount) AtLeast(n int) int {
	v, share, err := parseAmount(string(a))
	if err == nil && share {
		v = math.Ceil(float64(n) * v / 100)
	}
	return int(v)
}

func parseAmount(s string) (v float64, share bool, err error) {
	text, share := strings.CutSuffix(s, "%")
	if share {
		v, err = strconv.ParseFloat(text, 64)
		if err == nil && (v < 0 || v > 100 || math.IsNaN(v)) {
			err = strconv.ErrRange
		}
	} else {
		var n int64
		n, err = strconv.ParseInt(text, 10, 32)
		if err == nil && n < 0 {
			err = strconv.ErrRange
		}
		v = float64(n)
	}
	if err != nil {
		return 0, share, fmt.Errorf("%q is neither a number of minions nor a share of them; give for example 20 or 10%%", s)
	}
	return v, share, nil
}

// Limits of rollouts.
const (
	MaxRolloutPause = 24 * time.Hour
	// MaxMaxPer bounds the labels of MaxPer, and of ClusterMaxPer.
	MaxMaxPer = 8
	// MaxClusterBound bounds each bound of ClusterMaxPer: who counts under one of
	// them is in one value in etcd.
	MaxClusterBound = 500
)

func (r *Rollout) check(p *problems) {
	const at = "spec.rollout"
	checkEnum(p, at+".promote", r.Promote, Promotes())
	checkEnum(p, at+".order", r.Order, StartOrders())
	if r.CanaryCount < 0 {
		p.add(at+".canaryCount", "%d is below zero; give how many minions go first", r.CanaryCount)
	}
	if n, _, err := parseAmount(string(r.Batch)); err == nil && n == 0 {
		p.add(at+".batch", "is %s; at least 1 has to run at a time: leave it out for all", r.Batch)
	}
	p.within(at+".pause", r.Pause, 0, MaxRolloutPause)
	if r.Order == OrderLabel && r.OrderBy == "" {
		p.add(at+".orderBy", "is missing; name the label whose values come one after the other, as in site")
	}
	checkMaxPer(p, at+".maxPer", r.MaxPer, math.MaxInt)
	checkMaxPer(p, at+".clusterMaxPer", r.ClusterMaxPer, MaxClusterBound)
}

// checkMaxPer checks bounds per label, none of which may be above most.
func checkMaxPer(p *problems, at string, bounds map[string]int, most int) {
	if len(bounds) > MaxMaxPer {
		p.add(at, "has %d entries; at most %d are allowed", len(bounds), MaxMaxPer)
	}
	for _, k := range slices.Sorted(maps.Keys(bounds)) {
		if err := checkLabelKey(k); err != nil {
			p.add(at+"."+k, "the key %v", err)
		}
		switch n := bounds[k]; {
		case n < 1:
			p.add(at+"."+k, "is %d; at least 1 has to run at a time", n)
		case n > most:
			p.add(at+"."+k, "is %d; at most %d can be counted in the whole cluster", n, most)
		}
	}
}
