package shared

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Values are entries, and what is done to them: the state of a run or a job, without its
// barriers. It is for those that keep it, as nodes and tests do; the zero value has none.
// It is not safe for several goroutines at once.
type Values struct {
	// Version is that of the last write.
	Version int64 `json:"version"`
	// Entries are by their keys, which are left out in them.
	Entries map[string]Entry `json:"entries,omitempty"`
}

// size is what counts for MaxBytes.
func (v *Values) size() int {
	n := 0
	for k, e := range v.Entries {
		n += len(k) + len(e.Value)
	}
	return n
}

// Do does a request that was checked, and returns the answer to it. A watch is answered with
// CodeAgain as long as nothing has changed.
func (v *Values) Do(r *Request) Answer {
	was, found := v.Entries[r.Key]
	ok := Answer{Code: CodeOK, Value: was.Value, Version: was.Version}
	switch r.Op {
	case OpGet, OpDelete:
		if !found {
			return Answer{Code: CodeNotFound, Reason: "there is no " + r.Key}
		}
		if r.Op == OpGet {
			return ok
		}
		delete(v.Entries, r.Key)
		v.Version++
		return Answer{Code: CodeOK, Version: v.Version}
	case OpWatch:
		if was.Version == r.Version {
			ok.Code = CodeAgain
		}
		return ok
	case OpList:
		return v.list(r.Key)
	case OpCAS:
		if was.Version != r.Version {
			ok.Code, ok.Reason = CodeConflict, fmt.Sprintf("%s has version %d, not %d", r.Key, was.Version, r.Version)
			return ok
		}
		return v.put(r.Key, r.Value)
	case OpSet:
		return v.put(r.Key, r.Value)
	case OpIncr:
		return v.add(r, was.Value, found)
	}
	return Refusef("op %q is not one of entries", r.Op)
}

func (v *Values) list(prefix string) Answer {
	a := Answer{Code: CodeOK, Version: v.Version}
	for _, k := range slices.Sorted(maps.Keys(v.Entries)) {
		if strings.HasPrefix(k, prefix) {
			a.Entries = append(a.Entries, Entry{Key: k, Value: v.Entries[k].Value, Version: v.Entries[k].Version})
		}
	}
	return a
}

// put writes an entry, if there is room.
func (v *Values) put(key, text string) Answer {
	was, found := v.Entries[key]
	grows := len(text) - len(was.Value)
	if !found {
		grows += len(key)
	}
	size := v.size() + grows
	switch {
	case !found && len(v.Entries) >= MaxKeys:
		return Answer{Code: CodeFull, Reason: fmt.Sprintf("there are %d keys already; at most that many are allowed", len(v.Entries))}
	case size > MaxBytes && grows > 0:
		return Answer{Code: CodeFull, Reason: fmt.Sprintf("keys and values would have %d bytes; at most %d are allowed", size, MaxBytes)}
	}
	if v.Entries == nil {
		v.Entries = map[string]Entry{}
	}
	v.Version++
	v.Entries[key] = Entry{Value: text, Version: v.Version}
	return Answer{Code: CodeOK, Value: text, Version: v.Version}
}

func (v *Values) add(r *Request, was string, found bool) Answer {
	n := int64(0)
	if found {
		var err error
		if n, err = strconv.ParseInt(was, 10, 64); err != nil {
			return Refusef("%s is %.40q, and no whole number", r.Key, was)
		}
	}
	if r.Delta > 0 && n > math.MaxInt64-r.Delta || r.Delta < 0 && n < math.MinInt64-r.Delta {
		return Refusef("%s is %d, and %+d more is beyond what a counter holds", r.Key, n, r.Delta)
	}
	return v.put(r.Key, strconv.FormatInt(n+r.Delta, 10))
}
