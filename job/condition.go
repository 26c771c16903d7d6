package job

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Outcome says which ends of a run another job waits for.
type Outcome string

// The outcomes.
const (
	// OnSuccess: the run succeeded. The default.
	OnSuccess Outcome = "success"
	// OnFailure: the run was started, or was to be, and did not succeed.
	OnFailure Outcome = "failure"
	// OnAlways: the run ended, whatever came of it.
	OnAlways Outcome = "always"
)

// Outcomes lists the outcomes, the default first.
func Outcomes() []Outcome { return []Outcome{OnSuccess, OnFailure, OnAlways} }

// Meets reports whether a run that ended in this state is such an outcome.
// Occurrences that a policy did not run, and runs that were cancelled, are
// neither success nor failure; those that were skipped or missed are no end.
func (o Outcome) Meets(s State) bool {
	switch s.traits().ending {
	case success:
		return o != OnFailure
	case failure:
		return o == OnFailure || o == OnAlways
	case otherEnd:
		return o == OnAlways
	case noEnd:
	}
	return false
}

// Match says of how many of several conditions one is enough.
type Match string

// The matches.
const (
	// MatchAll: each of the jobs has to end since the job was started last. The
	// default.
	MatchAll Match = "all"
	// MatchAny: the end of any of them starts the job.
	MatchAny Match = "any"
)

// Matches lists the matches, the default first.
func Matches() []Match { return []Match{MatchAll, MatchAny} }

// After has a job start when other jobs' runs end.
type After struct {
	// Jobs are the others: NAME, or NAMESPACE/NAME.
	Jobs []string `json:"jobs"`
	// On says which ends count. Empty: OnSuccess.
	On Outcome `json:"on,omitempty"`
	// Match says whether all of Jobs have to end, or any. Empty: MatchAll.
	Match Match `json:"match,omitempty"`
}

// Watch has a job start when a key in etcd changes.
type Watch struct {
	// Key is the key, or the prefix of keys.
	Key string `json:"key"`
	// Prefix: all keys that begin with Key.
	Prefix bool `json:"prefix,omitempty"`
}

// Webhook has a job start when its address is called with a token, or by who signs the
// call. One of the two must be given; of both, a call needs both.
type Webhook struct {
	// TokenSHA256 is the SHA-256 of the token, in hexadecimal: the token itself
	// is nowhere kept. Empty: no token is asked for.
	TokenSHA256 string `json:"tokenSha256,omitempty"`
	// Signed: a call must be signed as the Standard Webhooks specification says, with
	// the secret that `carillon webhook secret` makes.
	Signed bool `json:"signed,omitempty"`
	// MaxPerMinute is how many calls start the job within a minute, on each node; more
	// are refused. Zero: 60.
	MaxPerMinute int `json:"maxPerMinute,omitempty"`
}

// Bounds of Webhook.
const (
	DefaultHooksPerMinute = 60
	MaxHooksPerMinute     = 600
)

// EffectiveMaxPerMinute returns MaxPerMinute, or its default.
func (h *Webhook) EffectiveMaxPerMinute() int {
	if h.MaxPerMinute == 0 {
		return DefaultHooksPerMinute
	}
	return h.MaxPerMinute
}

// MaxAfterJobs bounds how many jobs one waits for, and how many wait for one.
const MaxAfterJobs = 50

// MaxWatchKey bounds the bytes of a key that a job watches.
const MaxWatchKey = 1024

// EffectiveOn returns On, or its default.
func (a *After) EffectiveOn() Outcome {
	if a.On == "" {
		return OnSuccess
	}
	return a.On
}

// Keys returns the addresses of the jobs, of which those without a namespace lie
// in the given one.
func (a *After) Keys(namespace string) []Key {
	if a == nil {
		return nil
	}
	return keysOf(a.Jobs, namespace)
}

// CalendarKeys returns the addresses of the calendars, of which those without a
// namespace lie in the given one.
func (s *Spec) CalendarKeys(namespace string) []Key { return keysOf(s.Calendars, namespace) }

// keysOf reads names as NAME or NAMESPACE/NAME.
func keysOf(names []string, namespace string) []Key {
	keys := make([]Key, 0, len(names))
	for _, name := range names {
		if ns, rest, ok := strings.Cut(name, "/"); ok {
			keys = append(keys, Key{Namespace: ns, Name: rest})
		} else {
			keys = append(keys, Key{Namespace: namespace, Name: name})
		}
	}
	return keys
}

// EffectiveOnDeadline returns OnDeadline, or its default.
func (s *Spec) EffectiveOnDeadline() OnDeadline {
	if s.OnDeadline == "" {
		return DeadlineAlert
	}
	return s.OnDeadline
}

// checkConditions checks what starts the job besides its schedule.
func (s *Spec) checkConditions(p *problems) {
	if a := s.After; a != nil {
		if len(a.Jobs) == 0 {
			p.add("spec.after.jobs", "is empty; name the jobs whose end starts this one")
		}
		if len(a.Jobs) > MaxAfterJobs {
			p.add("spec.after.jobs", "has %d entries; at most %d are allowed", len(a.Jobs), MaxAfterJobs)
		}
		for i, name := range a.Jobs {
			at := "spec.after.jobs[" + strconv.Itoa(i) + "]"
			if _, err := ParseKey(name); err != nil {
				p.add(at, "%v", err)
			} else if slices.Contains(a.Jobs[:i], name) {
				p.add(at, "%q is given twice", name)
			}
		}
		checkEnum(p, "spec.after.on", a.On, Outcomes())
		checkEnum(p, "spec.after.match", a.Match, Matches())
	}
	if w := s.Watch; w != nil {
		switch {
		case w.Key == "":
			p.add("spec.watch.key", "is empty; give the key to watch")
		case len(w.Key) > MaxWatchKey:
			p.add("spec.watch.key", "has %d bytes; at most %d are allowed", len(w.Key), MaxWatchKey)
		}
	}
	if s.OnStart && s.Overlap != "" && s.Overlap != OverlapAllow && s.Overlap != OverlapQueueAll {
		p.add("spec.overlap", "%q would leave out the starts of hosts while the job runs on another; with onStart leave it out for %s, or write %s", s.Overlap, OverlapAllow, OverlapQueueAll)
	}
	if h := s.Webhook; h != nil {
		if h.TokenSHA256 == "" && !h.Signed {
			p.add("spec.webhook", "has neither tokenSha256 nor signed: anybody could call it; give one of them")
		}
		if h.MaxPerMinute < 0 || h.MaxPerMinute > MaxHooksPerMinute {
			p.add("spec.webhook.maxPerMinute", "%d is out of range; 1 to %d are allowed", h.MaxPerMinute, MaxHooksPerMinute)
		}
		if b, err := hex.DecodeString(h.TokenSHA256); h.TokenSHA256 != "" && (err != nil || len(b) != 32) {
			p.add("spec.webhook.tokenSha256", "%s is not a SHA-256 in hexadecimal; make one with: printf %%s \"$TOKEN\" | sha256sum", abridged(h.TokenSHA256))
		}
	}
}

// abridged quotes a text that may be a secret by its length only.
func abridged(s string) string {
	if s == "" {
		return "it"
	}
	return fmt.Sprintf("a text of %d characters", len(s))
}

// Variables by which a command finds the run whose end has started it, for a job with after:
// its id, its job as NAMESPACE/NAME, and the state in which it ended.
const (
	EnvAfterRun   = EnvPrefix + "AFTER_RUN_ID"
	EnvAfterJob   = EnvPrefix + "AFTER_JOB"
	EnvAfterState = EnvPrefix + "AFTER_STATE"
)
