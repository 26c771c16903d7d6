package target

import (
	"cmp"
	"slices"
)

// Matcher is an expression with its groups. Many goroutines may use it.
type Matcher struct {
	root   node
	groups Groups
}

// Result is what a matcher says of one host.
type Result struct {
	Matched bool
	// Unknown are the keys because of which it could not be told, sorted. The
	// host is not matched then. A key is here when the host does not have it, or
	// when its value has no order because it is no number.
	Unknown []string
}

// Match says whether the expression admits the host.
func (m *Matcher) Match(h *Host) Result {
	e := evaluation{host: h, groups: m.groups}
	switch e.of(m.root) {
	case yes:
		return Result{Matched: true}
	case no:
		return Result{}
	case unknown:
	}
	out := Result{}
	for _, k := range e.blame {
		out.Unknown = append(out.Unknown, k.String())
	}
	slices.Sort(out.Unknown)
	return out
}

// evaluation is one expression and one host.
type evaluation struct {
	host   *Host
	groups Groups
	// blame are the keys because of which the last result is unknown.
	blame []key
	// known are the results of groups: one that is named often is asked once.
	known map[string]outcome
}

type outcome struct {
	truth truth
	blame []key
}

// of evaluates a node. Blame from inside of it goes when its result is known.
func (e *evaluation) of(n node) truth {
	mark := len(e.blame)
	t := n.eval(e)
	if t != unknown {
		e.blame = e.blame[:mark]
	}
	return t
}

// missing is the result of a comparison that cannot be made.
func (e *evaluation) missing(k key) truth {
	e.accuse(k)
	return unknown
}

// accuse adds keys to the blame, each once.
func (e *evaluation) accuse(keys ...key) {
	for _, k := range keys {
		if !slices.Contains(e.blame, k) {
			e.blame = append(e.blame, k)
		}
	}
}

// group returns the result of a saved group.
func (e *evaluation) group(name string) truth {
	o, ok := e.known[name]
	if !ok {
		// A blame of its own: what is named already may yet be taken back there.
		outer := e.blame
		e.blame = nil
		o.truth = e.of(e.groups[name].root)
		o.blame, e.blame = e.blame, outer
		if e.known == nil {
			e.known = map[string]outcome{}
		}
		e.known[name] = o
	}
	e.accuse(o.blame...)
	return o.truth
}

// Selection is what a matcher says of many hosts.
type Selection struct {
	// Names are the hosts that are matched, in the order in which they came.
	Names []string
	// Unknown are the keys because of which it could not be told of some hosts
	// whether they match, sorted.
	Unknown []UnknownKey
}

// UnknownKey is a label or a fact that hosts did not have.
type UnknownKey struct {
	Key string `json:"key"`
	// Hosts is how many hosts are not matched because of it, First one of them.
	Hosts int    `json:"hosts"`
	First string `json:"first"`
}

// Select returns the hosts that the expression admits.
func (m *Matcher) Select(hosts []Host) Selection {
	var out Selection
	missing := map[string]*UnknownKey{}
	for i := range hosts {
		r := m.Match(&hosts[i])
		if r.Matched {
			out.Names = append(out.Names, hosts[i].Name)
		}
		for _, k := range r.Unknown {
			if missing[k] == nil {
				missing[k] = &UnknownKey{Key: k, First: hosts[i].Name}
			}
			missing[k].Hosts++
		}
	}
	for _, k := range missing {
		out.Unknown = append(out.Unknown, *k)
	}
	slices.SortFunc(out.Unknown, func(a, b UnknownKey) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
