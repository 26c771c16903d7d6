package lock

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prefix string
		opts   MutexOptions
		want   []string
	}{
		"empty prefix":       {"", MutexOptions{}, []string{"prefix is empty"}},
		"slashes alone":      {"//", MutexOptions{}, []string{"prefix is empty"}},
		"newline in prefix":  {"/a\nb", MutexOptions{}, []string{`"/a\nb" has a character that cannot be shown`}},
		"broken utf-8":       {"/a\xff", MutexOptions{}, []string{"cannot be shown"}},
		"escape in id":       {"/a", MutexOptions{ID: "x\x1b[2J"}, []string{`id "x\x1b[2J" has a character that cannot be shown`}},
		"slash in id":        {"/a", MutexOptions{ID: "x/y"}, []string{`id "x/y" has a slash`}},
		"long prefix":        {"/" + strings.Repeat("a", 2000), MutexOptions{}, []string{"2001 bytes long, want at most 1024"}},
		"negative limit":     {"/a", MutexOptions{Limit: -1}, []string{"limit is -1, want 1 to 10000"}},
		"shared with limit":  {"/a", MutexOptions{Shared: true, Limit: 2}, []string{"shared with limit 2, want one of them"}},
		"large priority":     {"/a", MutexOptions{Priority: math.MaxInt32 + 1}, []string{"priority is 2147483648, want 32 bit"}},
		"long lock delay":    {"/a", MutexOptions{LockDelay: 48 * time.Hour}, []string{"lock delay is 48h0m0s, want 0 to 24h0m0s"}},
		"place without id":   {"/a", MutexOptions{KeepPlace: true}, []string{"keep place without an id"}},
		"reentrant with id":  {"/a", MutexOptions{Reentrant: true, ID: "x"}, []string{"reentrant with an id"}},
		"all that is wrong":  {"", MutexOptions{Grace: -1, MaxHold: -1, LockDelay: -1}, []string{"prefix", "grace is -1ns", "max hold is -1ns", "lock delay is -1ns"}},
		"nothing is wrong":   {"/a/b/", MutexOptions{Priority: math.MinInt32, Limit: MaxLimit, ID: "Läufer 1"}, nil},
		"shared, all values": {"/a", MutexOptions{Shared: true, Grace: 1, MaxHold: 1, LockDelay: time.Hour, Preempt: true}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewMutex(nil, tc.prefix, tc.opts)
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("error is %v, want one that says %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestKeysTellWhatTheyAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := layout("/" + strings.Trim(rapid.StringMatching(`[a-z/]{1,12}`).Draw(t, "prefix"), "/"))
		k := kindOf(rapid.Bool().Draw(t, "shared"), rapid.IntRange(0, MaxLimit).Draw(t, "limit"))
		id := rapid.StringMatching(`[a-z0-9 -]{1,8}`).Draw(t, "id")
		p := class(int(rapid.Int32().Draw(t, "priority")))
		for key, want := range map[string]located{
			l.hold(k, id):     {lock: l, what: 'h', kind: k, id: id},
			l.place(p, k, id): {lock: l, what: 'w', kind: k, id: id, class: p},
		} {
			got, ok := locate(key)
			if !ok || got != want {
				t.Errorf("%s is located at %+v, %v, want %+v", key, got, ok, want)
			}
		}
		if got, ok := locate(l.guard(k, id, 7)); !ok || got.lock != l || got.what != 'g' || got.kind != k {
			t.Errorf("%s is located at %+v, %v", l.guard(k, id, 7), got, ok)
		}
	})
	for _, key := range []string{"", "/", "/a", "/a/h/exclusive", "h/exclusive/x/", "/a/h/other/x", "/a/x/exclusive/x", "/a/w/exclusive/x", "/a/h/00000000/shared/x"} {
		if at, ok := locate(key); ok && key != "h/exclusive/x/" {
			t.Errorf("%q is located at %+v, want it to be no key of a lock", key, at)
		}
	}
}

// The order of keys is what the compares rely on.
func TestKeysAreInOrder(t *testing.T) {
	t.Parallel()
	priorities := []int{math.MaxInt32, 1000, 1, 0, -1, math.MinInt32}
	var classes []string
	for _, p := range priorities {
		classes = append(classes, class(p))
		if got := priorityOf(class(p)); got != p {
			t.Errorf("priority %d comes back as %d", p, got)
		}
	}
	if !slices.IsSorted(classes) {
		t.Errorf("classes of falling priorities are %q, want them sorted", classes)
	}
	kinds := []kind{kindOf(false, 0), kindOf(false, 2), kindOf(false, MaxLimit), kindOf(true, 0)}
	if !slices.IsSorted(kinds) {
		t.Errorf("kinds are %q, want them sorted", kinds)
	}
	var limits []int
	for _, k := range kinds {
		limits = append(limits, k.limit())
	}
	if diff := cmp.Diff([]int{1, 2, MaxLimit, 0}, limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}
